/*
 * A Vulkan layer that shows a process one of several equal GPUs. Dawn chooses a GPU by its name, so it cannot tell equal
 * ones apart. WEBGPU_SSL_GPU = n shows the n-th member (from 0, modulo their number) of the largest group of GPUs with the
 * same vendor and device. Where all GPUs differ, all are shown.
 *
 * Interface between loader and layers: https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderLayerInterface.md
 * The types are those of vulkan.h and vk_layer.h, which a machine without Vulkan's development files lacks.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void *Handle;
typedef void (*Entry)(void);
typedef Entry (*Find)(Handle instance, const char *name);
typedef int32_t (*Create)(const void *info, const void *allocator, Handle *instance);
typedef void (*Destroy)(Handle instance, const void *allocator);
typedef int32_t (*Enumerate)(Handle instance, uint32_t *count, Handle *devices);
typedef void (*Properties)(Handle device, void *properties);

enum { SUCCESS = 0, INCOMPLETE = 5, INITIALIZATION_FAILED = -3, OUT_OF_HOST_MEMORY = -1, LOADER_INSTANCE_CREATE_INFO = 47 };

/* VkLayerInstanceLink and VkLayerInstanceCreateInfo */
typedef struct Link {
  struct Link *next;
  Find find;
  Find find_in_device;
} Link;
typedef struct Chain {
  int32_t type;
  struct Chain *next;
  int32_t function; /* 0: `link` holds the next layer */
  Link *link;
} Chain;

/* VkNegotiateLayerInterface */
typedef struct {
  int32_t type;
  void *next;
  uint32_t version;
  Find find;
  Find find_in_device;
  Find find_of_device;
} Interface;

/*
 * Each instance with the next layer's functions. They are found when the instance is made: later the last layer's `find` gives
 * the first layer's functions.
 */
typedef struct Known {
  struct Known *next;
  Handle instance;
  Find find;
  Destroy destroy;
  Enumerate enumerate;
  Properties properties;
} Known;
static Known *known;

static Known *known_by(Handle instance) {
  for (Known *one = known; one; one = one->next)
    if (one->instance == instance) return one;
  return NULL;
}

static int32_t create_instance(const void *info, const void *allocator, Handle *instance) {
  Chain *chain = ((Chain *)info)->next;
  while (chain && !(chain->type == LOADER_INSTANCE_CREATE_INFO && chain->function == 0)) chain = chain->next;
  if (!chain) return INITIALIZATION_FAILED;
  Find find = chain->link->find;
  chain->link = chain->link->next;
  Create create = (Create)find(NULL, "vkCreateInstance");
  int32_t result = create ? create(info, allocator, instance) : INITIALIZATION_FAILED;
  if (result != SUCCESS) return result;
  Known *one = malloc(sizeof *one);
  if (!one) return OUT_OF_HOST_MEMORY;
  one->next = known;
  one->instance = *instance;
  one->find = find;
  one->destroy = (Destroy)find(*instance, "vkDestroyInstance");
  one->enumerate = (Enumerate)find(*instance, "vkEnumeratePhysicalDevices");
  one->properties = (Properties)find(*instance, "vkGetPhysicalDeviceProperties");
  known = one;
  return SUCCESS;
}

static void destroy_instance(Handle instance, const void *allocator) {
  for (Known **at = &known; *at; at = &(*at)->next)
    if ((*at)->instance == instance) {
      Known *gone = *at;
      *at = gone->next;
      gone->destroy(instance, allocator);
      free(gone);
      return;
    }
}

/* Vendor and device of a GPU: the third and fourth number of VkPhysicalDeviceProperties, which has 824 bytes. */
static uint64_t model_of(Properties properties, Handle device) {
  uint64_t space[256];
  const uint32_t *numbers = (const uint32_t *)space;
  memset(space, 0, sizeof space);
  properties(device, space);
  return (uint64_t)numbers[2] << 32 | numbers[3];
}

/* Moves what is shown to the front of `devices`, and returns its number. */
static uint32_t choose(Properties properties, Handle *devices, uint32_t count) {
  const char *text = getenv("WEBGPU_SSL_GPU");
  uint32_t largest = 0, equal = 0;
  if (!text || !properties) return count;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t members = 0;
    for (uint32_t j = 0; j < count; j++)
      members += model_of(properties, devices[i]) == model_of(properties, devices[j]);
    if (members > equal) {
      equal = members;
      largest = i;
    }
  }
  if (equal < 2) return count;
  uint32_t wanted = (uint32_t)(strtoul(text, NULL, 10) % equal);
  uint64_t model = model_of(properties, devices[largest]);
  for (uint32_t i = 0; i < count; i++)
    if (model_of(properties, devices[i]) == model && wanted-- == 0) {
      devices[0] = devices[i];
      return 1;
    }
  return count;
}

static int32_t enumerate_devices(Handle instance, uint32_t *count, Handle *devices) {
  Known *own = known_by(instance);
  if (!own) return INITIALIZATION_FAILED;
  uint32_t all = 0;
  int32_t result = own->enumerate(instance, &all, NULL);
  if (result != SUCCESS || all == 0) {
    *count = 0;
    return result;
  }
  Handle *found = calloc(all, sizeof *found);
  if (!found) return OUT_OF_HOST_MEMORY;
  result = own->enumerate(instance, &all, found);
  if (result < 0) {
    free(found);
    return result;
  }
  uint32_t shown = choose(own->properties, found, all);
  uint32_t given = devices && *count < shown ? *count : shown;
  if (devices) memcpy(devices, found, given * sizeof *devices);
  free(found);
  *count = given;
  return devices && given < shown ? INCOMPLETE : SUCCESS;
}

static Entry find_here(Handle instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Entry)find_here;
  if (!strcmp(name, "vkCreateInstance")) return (Entry)create_instance;
  if (!strcmp(name, "vkDestroyInstance")) return (Entry)destroy_instance;
  if (!strcmp(name, "vkEnumeratePhysicalDevices")) return (Entry)enumerate_devices;
  Known *own = known_by(instance);
  return own ? own->find(instance, name) : NULL;
}

int32_t vkNegotiateLoaderLayerInterfaceVersion(Interface *interface) {
  if (interface->version < 2) return INITIALIZATION_FAILED;
  interface->version = 2;
  interface->find = find_here;
  interface->find_in_device = NULL;
  interface->find_of_device = NULL;
  return SUCCESS;
}
