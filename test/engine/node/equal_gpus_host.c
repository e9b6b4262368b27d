/*
 * Stands in for Vulkan's loader and a driver with some GPUs, and asks the layer which of them it shows.
 *
 *     equal_gpus_host LAYER ROOM VENDOR:DEVICE[@BUS] …
 *
 * ROOM is the number of devices that the caller has room for. Prints the result, the number, and the indices that are shown.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *Handle;
typedef void (*Entry)(void);
typedef Entry (*Find)(Handle, const char *);
typedef struct Link {
  struct Link *next;
  Find find, find_in_device;
} Link;
typedef struct Chain {
  int32_t type;
  void *next;
  int32_t function;
  Link *link;
} Chain;
typedef struct {
  int32_t type;
  void *next;
  uint32_t version;
  Find find, find_in_device, find_of_device;
} Interface;

typedef struct {
  int32_t type;
  void *next;
  uint32_t place[4];
} PciBusInfo;
typedef struct {
  int32_t type;
  PciBusInfo *next;
  uint64_t properties[103];
} Properties2;

static uint32_t count, models[16][3]; /* vendor, device, bus or 0 */
static int instance, made;

static int32_t create(const void *info, const void *allocator, Handle *out) {
  (void)info, (void)allocator;
  made++;
  *out = &instance;
  return 0;
}
static void destroy(Handle of, const void *allocator) {
  (void)of, (void)allocator;
  made--;
}
static int32_t enumerate(Handle of, uint32_t *number, Handle *devices) {
  (void)of;
  if (devices)
    for (uint32_t i = 0; i < count; i++) devices[i] = models[i];
  *number = count;
  return 0;
}
static void properties(Handle device, Properties2 *out) {
  const uint32_t *model = device;
  memset(out->properties, 0, 824);
  memcpy((uint32_t *)out->properties + 2, model, 8);
  if (!model[2]) return;
  PciBusInfo *bus = out->next;
  bus->place[0] = bus->place[2] = bus->place[3] = 0;
  bus->place[1] = model[2];
}
static Entry find(Handle of, const char *name) {
  (void)of;
  if (!strcmp(name, "vkCreateInstance")) return (Entry)create;
  if (!strcmp(name, "vkDestroyInstance")) return (Entry)destroy;
  if (!strcmp(name, "vkEnumeratePhysicalDevices")) return (Entry)enumerate;
  if (!strcmp(name, "vkGetPhysicalDeviceProperties2")) return (Entry)properties;
  return NULL;
}

int main(int argc, char **argv) {
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  uint32_t room = (uint32_t)atoi(argv[2]);
  for (int i = 3; i < argc; i++, count++) sscanf(argv[i], "%x:%x@%x", &models[count][0], &models[count][1], &models[count][2]);
  Interface layer = {1, NULL, 2, NULL, NULL, NULL};
  ((int32_t(*)(Interface *))dlsym(library, "vkNegotiateLoaderLayerInterfaceVersion"))(&layer);
  Link last = {NULL, find, NULL}, own = {&last, find, NULL};
  Chain chain = {47, NULL, 0, &own};
  Chain info = {1, &chain, 0, NULL};
  Handle of = NULL;
  ((int32_t(*)(const void *, const void *, Handle *))layer.find(NULL, "vkCreateInstance"))(&info, NULL, &of);
  Entry entry = layer.find(of, "vkEnumeratePhysicalDevices");
  uint32_t all = 0;
  Handle devices[16];
  ((int32_t(*)(Handle, uint32_t *, Handle *))entry)(of, &all, NULL);
  int32_t result = ((int32_t(*)(Handle, uint32_t *, Handle *))entry)(of, &room, devices);
  printf("%d %u", result, all);
  for (uint32_t i = 0; i < room; i++) printf(" %d", (int)((uint32_t(*)[3])devices[i] - models));
  ((void (*)(Handle, const void *))layer.find(of, "vkDestroyInstance"))(of, NULL);
  printf(" %s %d\n", chain.link == &last ? "next" : "lost", made);
  return 0;
}
