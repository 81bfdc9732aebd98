/* A driver library for the real pynvml: compiled to libnvidia-ml.so.1 and put on LD_LIBRARY_PATH. Two GPUs unless told.
 *
 * FAKE_NVML in the environment is a list of words, each a recorded state:
 *   one, eight  so many GPUs; of eight the first four are near cpus 0-15, the others near 16-31
 *   start       nvmlInit fails (999, unknown error)
 *   mismatch    nvmlInit fails (18, driver and library differ)
 *   hang        nvmlInit never returns
 *   count       nvmlDeviceGetCount fails
 *   denied      everything but nvmlInit and the count is not permitted (4)
 *   blind       handle, uuid and name are given, all else is not permitted (4)
 *   memory      memory is not supported (3)
 *   affinity    cpu affinity is not supported
 *   lost        GPU 1 has fallen off the bus (15)
 *   falls       GPU 1 falls off the bus once its memory has been read
 *   mig         GPU 1 has MIG on, with slices at 0 and 2
 *   bare        GPU 1 has MIG on and no slice
 *   busy        processes 4242 and 4243 hold 512 MiB (GPU 0) and an unknown number of bytes (GPU 1)
 *   worn        GPU 0 has 3 ECC errors and 2 remapped rows, and wants a reset
 *   exclusive   GPU 1 is in compute mode EXCLUSIVE_PROCESS
 * FAKE_NVML_STATE names a file that is read at every call, for states that change while somebody looks:
 *   process UUID PID MIB    (as often as you like; MIB -1: the driver does not say)
 *   used UUID MIB
 *   lost UUID
 *   hang UUID               its memory is never told
 * FAKE_NVML_LOG names a file that gets a line for each init and shutdown.
 * Symbols that are missing altogether (nvmlDeviceGetMigMode under -DOLD_DRIVER) are what an old driver looks like. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15, MISMATCH = 18, UNKNOWN = 999 };

typedef struct { int index; int slice; } device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } process;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;

static device cards[8] = {{0, -1}, {1, -1}, {2, -1}, {3, -1}, {4, -1}, {5, -1}, {6, -1}, {7, -1}};
static device slices[2] = {{1, 0}, {1, 2}};
static int fallen;

static int wants(const char *word) {
    const char *mode = getenv("FAKE_NVML");
    return mode != NULL && strstr(mode, word) != NULL;
}

static unsigned count(void) { return wants("one") ? 1 : wants("eight") ? 8 : 2; }
static int withheld(void) { return wants("denied") || wants("blind"); }

static void tell(const char *line) {
    const char *name = getenv("FAKE_NVML_LOG");
    FILE *log = name ? fopen(name, "a") : NULL;
    if (log) { fprintf(log, "%s\n", line); fclose(log); }
}

static void name_of(const device *d, char *uuid, unsigned length) {
    if (d->slice < 0) snprintf(uuid, length, "GPU-%d1111111-aaaa", d->index);
    else snprintf(uuid, length, "MIG-%d2222222-bbbb", d->slice);
}

/* The state file's lines about this device that begin with `verb`: how many; the numbers of line `at`. */
static int state(const device *d, const char *verb, int at, long *first, long *second) {
    char uuid[96], line[256], said[32], whose[96];
    const char *name = getenv("FAKE_NVML_STATE");
    FILE *file = name ? fopen(name, "r") : NULL;
    int found = 0;
    name_of(d, uuid, sizeof uuid);
    while (file && fgets(line, sizeof line, file)) {
        long a = 0, b = 0;
        if (sscanf(line, "%31s %95s %ld %ld", said, whose, &a, &b) < 2) continue;
        if (strcmp(said, verb) || strcmp(whose, uuid)) continue;
        if (found++ == at) { *first = a; *second = b; }
    }
    if (file) fclose(file);
    return found;
}

static int gone(const device *d) {
    long ignored;
    return (d->index == 1 && (wants("lost") || fallen)) || state(d, "lost", 0, &ignored, &ignored) > 0;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (wants("start")) return UNKNOWN;
    if (wants("mismatch")) return MISMATCH;
    while (wants("hang")) pause();
    tell("init");
    return 0;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { tell("shutdown"); return 0; }
const char *nvmlErrorString(int code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case LOST: return "GPU is lost";
    case MISMATCH: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    if (wants("denied")) return NO_PERMISSION;
    snprintf(version, length, "595.10");
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *found) { if (wants("count")) return UNKNOWN; *found = count(); return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **handle) {
    if (index >= count()) return 2;
    if (wants("denied")) return NO_PERMISSION;
    if (gone(&cards[index])) return LOST;
    *handle = &cards[index];
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *wanted, device **handle) {
    char uuid[96];
    for (unsigned at = 0; at < count() + 2; at++) {
        device *d = at < count() ? &cards[at] : &slices[at - count()];
        name_of(d, uuid, sizeof uuid);
        if (strcmp(uuid, wanted)) continue;
        if (gone(d)) return LOST;
        *handle = d;
        return 0;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetName(device *d, char *name, unsigned length) {
    if (gone(d)) return LOST;
    snprintf(name, length, "Fake A%d%s", 100, d->slice < 0 ? "" : " MIG 1g.5gb");
    return 0;
}

int nvmlDeviceGetUUID(device *d, char *uuid, unsigned length) { name_of(d, uuid, length); return 0; }

int nvmlDeviceGetMemoryInfo(device *d, memory *m) {
    long used, ignored;
    if (withheld()) return NO_PERMISSION;
    if (wants("memory")) return NOT_SUPPORTED;
    if (gone(d)) return LOST;
    while (state(d, "hang", 0, &used, &ignored)) pause();
    if (d->index == 1 && wants("falls")) fallen = 1;
    m->total = (d->slice < 0 ? 40ULL : 5ULL) << 30;
    m->used = (unsigned long long)(d->index + 1) << 30;
    if (state(d, "used", 0, &used, &ignored)) m->used = (unsigned long long)used << 20;
    m->free = m->total - m->used;
    return 0;
}

int nvmlDeviceGetPciInfo_v3(device *d, pci *info) {
    if (withheld()) return NO_PERMISSION;
    memset(info, 0, sizeof *info);
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", 0x3b + d->index);
    return 0;
}

int nvmlDeviceGetComputeMode(device *d, unsigned *mode) {
    if (withheld()) return NO_PERMISSION;
    if (gone(d)) return LOST;
    *mode = d->index == 1 && wants("exclusive") ? 3 : 0;
    return 0;
}

int nvmlDeviceGetTotalEccErrors(device *d, unsigned type, unsigned counter, unsigned long long *errors) {
    (void)type, (void)counter;
    if (withheld()) return NO_PERMISSION;
    if (gone(d)) return LOST;
    *errors = d->index == 0 && wants("worn") ? 3 : 0;
    return 0;
}

int nvmlDeviceGetRemappedRows(device *d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    int worn = d->index == 0 && wants("worn");
    if (withheld()) return NO_PERMISSION;
    if (gone(d)) return LOST;
    *corrected = 0, *uncorrected = worn ? 2 : 0, *pending = worn, *failed = 0;
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *room, process *list) {
    long pid = 0, mib = 0;
    int busy = wants("busy") && d->slice < 0 && d->index < 2, found;
    if (withheld()) return NO_PERMISSION;
    if (gone(d)) return LOST;
    found = state(d, "process", -1, &pid, &mib) + busy;
    if (found == 0) { *room = 0; return 0; }
    if (list == NULL || (int)*room < found) { *room = found; return TOO_SMALL; }
    for (int at = 0; at < found; at++) {
        if (at < found - busy) state(d, "process", at, &pid, &mib);
        else pid = 4242 + d->index, mib = d->index == 0 ? 512 : -1;
        list[at] = (process){(unsigned)pid, mib < 0 ? ~0ULL : (unsigned long long)mib << 20, ~0u, ~0u};
    }
    *room = found;
    return 0;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device *d, unsigned *room, process *list) {
    (void)list;
    if (withheld()) return NO_PERMISSION;
    if (gone(d)) return LOST;
    *room = 0;
    return 0;
}

int nvmlDeviceGetCpuAffinity(device *d, unsigned words, unsigned long *set) {
    if (withheld()) return NO_PERMISSION;
    if (wants("affinity") || d->slice >= 0) return NOT_SUPPORTED;
    memset(set, 0, words * sizeof *set);
    if (wants("eight")) { set[0] = d->index < 4 ? 0xffffUL : 0xffff0000UL; return 0; }
    set[0] = d->index == 0 ? 0x3UL : 0xcUL;   /* cpus 0-1, 2-3 */
    if (d->index == 1) set[1] = 0x1UL;        /* and 64 */
    return 0;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    if (withheld()) return NO_PERMISSION;
    *current = *pending = d->index == 1 && (wants("mig") || wants("bare"));
    return d->index == 1 ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *found) { (void)d; *found = 3; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned number, device **handle) {
    (void)d;
    if (wants("bare") || number == 1 || number > 2) return NOT_FOUND;
    *handle = &slices[number == 2];
    return 0;
}
#endif
