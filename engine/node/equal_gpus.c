/*
 * A Vulkan layer that shows a process one of several equal GPUs. Dawn chooses a GPU by its name, so it cannot tell equal
 * ones apart. WEBGPU_SSL_GPU = n shows the n-th member (from 0, modulo their number) of each group of GPUs with the same
 * vendor and device, and hides the others of the group. A GPU that two drivers list counts once. The layer sets
 * WEBGPU_SSL_GPU_SHOWN, so that the process can see that it was loaded.
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

/* VkPhysicalDevicePCIBusInfoPropertiesEXT: domain, bus, device and function. */
typedef struct {
  int32_t type;
  void *next;
  uint32_t place[4];
} PciBusInfo;

/* VkPhysicalDeviceProperties2. Its properties have 824 bytes; their third and fourth number are vendor and device. */
typedef struct {
  int32_t type;
  void *next;
  uint64_t properties[256];
} Properties2;

enum { SUCCESS = 0, INCOMPLETE = 5, INITIALIZATION_FAILED = -3, OUT_OF_HOST_MEMORY = -1 };
enum { LOADER_INSTANCE_CREATE_INFO = 47, PROPERTIES_2 = 1000059001, PCI_BUS_INFO = 1000212000 };

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
  Properties properties2;
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
  Known *one = malloc(sizeof *one);
  if (!one) return OUT_OF_HOST_MEMORY;
  int32_t result = create ? create(info, allocator, instance) : INITIALIZATION_FAILED;
  if (result != SUCCESS) {
    free(one);
    return result;
  }
  one->next = known;
  one->instance = *instance;
  one->find = find;
  one->destroy = (Destroy)find(*instance, "vkDestroyInstance");
  one->enumerate = (Enumerate)find(*instance, "vkEnumeratePhysicalDevices");
  one->properties2 = (Properties)find(*instance, "vkGetPhysicalDeviceProperties2");
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

/* What tells GPUs apart. */
typedef struct {
  uint64_t model;
  uint32_t place[4];
  int placed; /* whether the driver says where the GPU is */
} Identity;

static Identity identity_of(Properties properties2, Handle device) {
  PciBusInfo bus = {PCI_BUS_INFO, NULL, {UINT32_MAX, 0, 0, 0}};
  Properties2 all = {PROPERTIES_2, &bus, {0}};
  const uint32_t *numbers = (const uint32_t *)all.properties;
  Identity identity;
  properties2(device, &all);
  identity.model = (uint64_t)numbers[2] << 32 | numbers[3];
  identity.placed = bus.place[0] != UINT32_MAX;
  memcpy(identity.place, bus.place, sizeof bus.place);
  return identity;
}

static int is_same(const Identity *a, const Identity *b) {
  return a->placed && b->placed && !memcmp(a->place, b->place, sizeof a->place);
}

/* Whether no earlier entry of the list is the same GPU. */
static int is_first_listing(const Identity *all, uint32_t i) {
  for (uint32_t j = 0; j < i; j++)
    if (is_same(&all[j], &all[i])) return 0;
  return 1;
}

/* Moves the devices that are shown to the front, in their order, and returns their number. */
static uint32_t choose(const Identity *all, Handle *devices, uint32_t count, unsigned long wanted) {
  uint32_t shown = 0;
  for (uint32_t i = 0; i < count; i++) {
    unsigned long members = 0, number = 0;
    if (!is_first_listing(all, i)) continue;
    for (uint32_t j = 0; j < count; j++)
      if (all[j].model == all[i].model && is_first_listing(all, j)) {
        number += j < i;
        members++;
      }
    if (number == wanted % members) devices[shown++] = devices[i];
  }
  return shown;
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
  const char *wanted = getenv("WEBGPU_SSL_GPU");
  Handle *found = calloc(all, sizeof *found);
  Identity *identities = calloc(all, sizeof *identities);
  result = found && identities ? own->enumerate(instance, &all, found) : OUT_OF_HOST_MEMORY;
  uint32_t shown = all;
  if (result >= 0 && wanted && own->properties2) {
    for (uint32_t i = 0; i < all; i++) identities[i] = identity_of(own->properties2, found[i]);
    shown = choose(identities, found, all, strtoul(wanted, NULL, 10));
    setenv("WEBGPU_SSL_GPU_SHOWN", wanted, 1);
  }
  free(identities);
  if (result < 0) {
    free(found);
    return result;
  }
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
