/*
 * A Vulkan driver that compiles and does nothing else. It forwards to Mesa's RADV, which is opened on its null device:
 * that device has the compiler of the real one, but crashes on commands. So every call that records or submits work
 * becomes a function that returns VK_SUCCESS.
 *
 * Interface between loader and driver: https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*Entry)(void);
typedef Entry (*Finder)(void *handle, const char *name);

/* Names that begin like one of these do nothing. */
static const char *const ignored[] = {"vkCmd",           "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkResetCommand",
                                      "vkQueueSubmit",   "vkQueueWaitIdle",      "vkQueueBindSparse",  "vkDeviceWaitIdle",
                                      "vkWaitForFences", "vkGetFenceStatus"};

static Finder find_in_device;

static int do_nothing(void) { return 0; }

static void *symbol(const char *name) {
  static void *library;
  if (!library) library = dlopen(getenv("NULL_GPU_DRIVER"), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return dlsym(library, name);
}

static Entry unless_ignored(Entry entry, const char *name) {
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
    if (entry && strncmp(name, ignored[i], strlen(ignored[i])) == 0) return do_nothing;
  return entry;
}

static Entry device_entry(void *device, const char *name) { return unless_ignored(find_in_device(device, name), name); }

Entry vk_icdGetInstanceProcAddr(void *instance, const char *name) {
  Entry entry = ((Finder)symbol("vk_icdGetInstanceProcAddr"))(instance, name);
  if (entry && strcmp(name, "vkGetDeviceProcAddr") == 0) {
    find_in_device = (Finder)entry;
    return (Entry)device_entry;
  }
  return unless_ignored(entry, name);
}

Entry vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
  Finder find = (Finder)symbol("vk_icdGetPhysicalDeviceProcAddr");
  return find ? find(instance, name) : NULL;
}

int vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  int (*negotiate)(uint32_t *) = (int (*)(uint32_t *))symbol("vk_icdNegotiateLoaderICDInterfaceVersion");
  return negotiate ? negotiate(version) : 0;
}
