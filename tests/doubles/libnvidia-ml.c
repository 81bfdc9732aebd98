/* A driver library with two GPUs, for the real pynvml: compiled to libnvidia-ml.so.1 and put on LD_LIBRARY_PATH.
 *
 * FAKE_NVML in the environment is a list of words that change its mind:
 *   start     nvmlInit fails (999, unknown error)
 *   count     nvmlDeviceGetCount fails
 *   memory    memory is not supported (3)
 *   affinity  cpu affinity is not supported
 *   lost      GPU 1 has fallen off the bus (15)
 *   mig       GPU 1 has MIG on, with slices at 0 and 2
 *   bare      GPU 1 has MIG on and no slice
 * FAKE_NVML_LOG names a file that gets a line for each init and shutdown.
 * Symbols that are missing altogether (nvmlDeviceGetMigMode under -DOLD_DRIVER) are what an old driver looks like. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int index; int slice; } device;
typedef struct { unsigned long long total, free, used; } memory;

static device cards[2] = {{0, -1}, {1, -1}};
static device slices[2] = {{1, 0}, {1, 2}};

static int wants(const char *word) {
    const char *mode = getenv("FAKE_NVML");
    return mode != NULL && strstr(mode, word) != NULL;
}

static void tell(const char *line) {
    const char *name = getenv("FAKE_NVML_LOG");
    FILE *log = name ? fopen(name, "a") : NULL;
    if (log) { fprintf(log, "%s\n", line); fclose(log); }
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; if (wants("start")) return 999; tell("init"); return 0; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { tell("shutdown"); return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : code == 3 ? "Not Supported" : "Unknown Error"; }

int nvmlDeviceGetCount_v2(unsigned *count) { if (wants("count")) return 999; *count = 2; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **handle) {
    if (index > 1) return 2;
    if (index == 1 && wants("lost")) return 15;
    *handle = &cards[index];
    return 0;
}

int nvmlDeviceGetName(device *d, char *name, unsigned length) {
    snprintf(name, length, "Fake A%d%s", 100, d->slice < 0 ? "" : " MIG 1g.5gb");
    return 0;
}

int nvmlDeviceGetUUID(device *d, char *uuid, unsigned length) {
    if (d->slice < 0) snprintf(uuid, length, "GPU-%d1111111-aaaa", d->index);
    else snprintf(uuid, length, "MIG-%d2222222-bbbb", d->slice);
    return 0;
}

int nvmlDeviceGetMemoryInfo(device *d, memory *m) {
    if (wants("memory")) return 3;
    m->total = (d->slice < 0 ? 40ULL : 5ULL) << 30;
    m->free = m->total - ((unsigned long long)(d->index + 1) << 30);
    m->used = m->total - m->free;
    return 0;
}

int nvmlDeviceGetCpuAffinity(device *d, unsigned words, unsigned long *set) {
    if (wants("affinity") || d->slice >= 0) return 3;
    memset(set, 0, words * sizeof *set);
    set[0] = d->index == 0 ? 0x3UL : 0xcUL;   /* cpus 0-1, 2-3 */
    if (d->index == 1) set[1] = 0x1UL;        /* and 64 */
    return 0;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    *current = *pending = d->index == 1 && (wants("mig") || wants("bare"));
    return d->index == 1 ? 0 : 3;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { (void)d; *count = 3; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned number, device **handle) {
    (void)d;
    if (wants("bare") || number == 1 || number > 2) return 6;
    *handle = &slices[number == 2];
    return 0;
}
#endif
