/* A libnvidia-ml.so.1 for the tests: what it answers stands in a text file.
 *
 * NVML_STUB names the file; it is read again whenever it changes. Lines, `#` begins a comment:
 *   init CODE                 what nvmlInit answers (0 by default)
 *   driver TEXT, nvml TEXT    versions
 *   count_code CODE           what nvmlDeviceGetCount answers
 *   generation N              of the driver: devices of an earlier one answer that they are lost
 *   latency_us N              every call on a device takes that long
 *   chaos N                   N of 1000 calls on a device answer NOT_SUPPORTED, TIMEOUT or UNKNOWN
 *   fail FUNCTION CODE        that function answers CODE
 *   missing FUNCTION          that function answers FUNCTION_NOT_FOUND
 *   block FUNCTION            that function does not come back while the line stands
 *   gpu N KEY VALUE           a fact of the device; without it NOT_SUPPORTED is answered
 *   gpu N code KEY CODE       that fact answers CODE
 *   gpu N state CODE          every call on the device answers CODE (15 lost, 16 reset required)
 *   gpu N hidden 1            the device is no longer listed
 *   gpu N mig I UUID GI PROFILE USED_MIB FREE_MIB    one MIG instance
 *   gpu N part_code CODE      what nvmlDeviceGetUUID of an instance answers
 *   gpu N process PID BYTES   one process; -1 bytes: not known
 * NVML_STUB_XIDS names a second file to which the tests append `GPU XID` lines: the events. An
 * event set tells those that came after it was made, each once.
 * Versioned structures are laid out as nvml.h has them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       TOO_SMALL = 7, TIMEOUT = 10, NO_FUNCTION = 13, LOST = 15, UNKNOWN = 999 };
enum { MAX_LINES = 4096, MAX_GPUS = 64, MAX_PARTS = 16 };
typedef unsigned int u32;
typedef unsigned long long u64;

typedef struct device { int gpu; int part; } *device;   /* part -1: the whole GPU */
static struct device whole[MAX_GPUS], parts[MAX_GPUS][MAX_PARTS];

typedef struct { int gpu; char key[64]; char value[160]; } fact;
static fact facts[MAX_LINES];
static int fact_count;
static struct timespec read_at;
static off_t read_size = -1;
static ino_t read_inode;
static int opened;
static long born;                                       /* the driver's generation when opened */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void parse(FILE *file) {
    char line[512];
    fact_count = 0;
    while (fact_count < MAX_LINES && fgets(line, sizeof line, file)) {
        fact *f = &facts[fact_count];
        char *rest = line + strspn(line, " \t");
        rest[strcspn(rest, "\n")] = 0;
        if (!*rest || *rest == '#') continue;
        f->gpu = -1;
        int used = 0;
        if (sscanf(rest, "gpu %d %n", &f->gpu, &used) == 1 && used) rest += used;
        char *space = strchr(rest, ' ');
        if (!space) continue;
        if (!strncmp(rest, "code ", 5)) {               /* `code KEY 3` is fact `code:KEY` */
            char *next = strchr(space + 1, ' ');
            if (!next) continue;
            *next = 0;
            snprintf(f->key, sizeof f->key, "code:%s", space + 1);
            snprintf(f->value, sizeof f->value, "%s", next + 1);
        } else {
            *space = 0;
            snprintf(f->key, sizeof f->key, "%s", rest);
            snprintf(f->value, sizeof f->value, "%s", space + 1);
        }
        fact_count++;
    }
}

static void refresh(void) {                             /* lock held */
    const char *path = getenv("NVML_STUB");
    struct stat now;
    if (!path || stat(path, &now)) return;
    if (now.st_size == read_size && now.st_ino == read_inode &&
        now.st_mtim.tv_sec == read_at.tv_sec && now.st_mtim.tv_nsec == read_at.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    parse(file);
    fclose(file);
    read_at = now.st_mtim; read_size = now.st_size; read_inode = now.st_ino;
}

/* The nth fact of that key, copied; 0 when there is none. */
static int look(int gpu, const char *key, int nth, char *out) {
    int found = 0;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < fact_count && !found; i++)
        if (facts[i].gpu == gpu && !strcmp(facts[i].key, key) && nth-- == 0) {
            if (out) strcpy(out, facts[i].value);
            found = 1;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

static long number(int gpu, const char *key, long otherwise) {
    char text[160];
    return look(gpu, key, 0, text) ? strtol(text, 0, 0) : otherwise;
}

static int named(const char *key, const char *function) {
    char text[160];
    for (int i = 0; look(-1, key, i, text); i++)
        if (!strcmp(text, function)) return 1;
    return 0;
}

static int enter(const char *function) {
    while (named("block", function)) usleep(2000);
    if (named("missing", function)) return NO_FUNCTION;
    char text[160], name[80];
    int code;
    for (int i = 0; look(-1, "fail", i, text); i++)
        if (sscanf(text, "%79s %d", name, &code) == 2 && !strcmp(name, function)) return code;
    return opened ? OK : UNINITIALIZED;
}

static int enter_device(const char *function, device d) {
    int code = enter(function);
    if (code) return code;
    if (!d) return INVALID;
    long wait = number(-1, "latency_us", 0);
    if (wait) usleep(wait);
    if (number(d->gpu, "hidden", 0) || number(-1, "generation", 0) != born) return LOST;
    static u32 dice = 1;
    static const int answers[] = {NOT_SUPPORTED, TIMEOUT, UNKNOWN};
    dice = dice * 1664525u + 1013904223u;
    if ((dice >> 8) % 1000 < (u32)number(-1, "chaos", 0)) return answers[(dice >> 20) % 3];
    return (int)number(d->gpu, "state", OK);
}
#define ENTER(d) do { int code_ = enter_device(__func__, d); if (code_) return code_; } while (0)

static int text_of(device d, const char *key, char *out, u32 size) {
    char text[160];
    if (!look(d->gpu, key, 0, text)) return NOT_SUPPORTED;
    if (strlen(text) >= size) return TOO_SMALL;
    strcpy(out, text);
    return OK;
}

static int value_of(device d, const char *key, u64 *out) {
    char name[80], text[160];
    snprintf(name, sizeof name, "code:%s", key);
    long code = number(d->gpu, name, OK);
    if (code) return (int)code;
    if (!look(d->gpu, key, 0, text)) return NOT_SUPPORTED;
    *out = strtoull(text, 0, 0);
    return OK;
}

static int u32_of(device d, const char *key, u32 *out) {
    u64 value;
    int code = value_of(d, key, &value);
    if (!code) *out = (u32)value;
    return code;
}

/* Sizes as the binding has them: a larger one here would write past its memory. */
#define SIZE(type, bytes) _Static_assert(sizeof(type) == bytes, #type)

/* ---- the library ---- */
API int nvmlInitWithFlags(u32 flags) {
    (void)flags;
    opened++;                                           /* counted, as the library does */
    int code = enter(__func__);
    if (!code) code = (int)number(-1, "init", OK);
    if (code) opened--;
    else born = number(-1, "generation", 0);
    for (int g = 0; g < MAX_GPUS; g++) {
        whole[g] = (struct device){g, -1};
        for (int p = 0; p < MAX_PARTS; p++) parts[g][p] = (struct device){g, p};
    }
    return code;
}
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { if (!opened) return UNINITIALIZED; opened--; return OK; }
API const char *nvmlErrorString(int code) {
    switch (code) {
    case LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "as the stub was told";
    }
}
static int version(const char *key, char *out, u32 size) {
    if (!look(-1, key, 0, 0)) { snprintf(out, size, "570.86.15"); return OK; }
    char text[160];
    look(-1, key, 0, text);
    snprintf(out, size, "%s", text);
    return OK;
}
API int nvmlSystemGetDriverVersion(char *out, u32 size) {
    int code = enter(__func__);
    return code ? code : version("driver", out, size);
}
API int nvmlSystemGetNVMLVersion(char *out, u32 size) {
    int code = enter(__func__);
    return code ? code : version("nvml", out, size);
}

/* ---- devices ---- */
static int listed(int *gpus) {
    int count = 0;
    for (int g = 0; g < MAX_GPUS; g++)
        if (look(g, "uuid", 0, 0) && !number(g, "hidden", 0)) { if (gpus) gpus[count] = g; count++; }
    return count;
}
API int nvmlDeviceGetCount_v2(u32 *count) {
    int code = enter(__func__);
    if (!code) code = (int)number(-1, "count_code", OK);
    if (!code) *count = (u32)listed(0);
    return code;
}
API int nvmlDeviceGetHandleByIndex_v2(u32 index, device *out) {
    int gpus[MAX_GPUS], code = enter(__func__), count = listed(gpus);
    if (code) return code;
    if ((int)index >= count) return INVALID;
    if (number(-1, "generation", 0) != born) return LOST;
    if (number(gpus[index], "state", OK) == LOST) return LOST;   /* as nvml.h says it does */
    *out = &whole[gpus[index]];
    return OK;
}
static int part(device d, char *uuid, u32 *gi, char *profile, u64 *used, u64 *free_mib) {
    char text[160];
    int at;
    for (int i = 0; look(d->gpu, "mig", i, text); i++) {
        char id[96], name[48];
        u32 g; u64 u, f;
        if (sscanf(text, "%d %95s %u %47s %llu %llu", &at, id, &g, name, &u, &f) == 6 && at == d->part) {
            if (uuid) strcpy(uuid, id);
            if (profile) strcpy(profile, name);
            if (gi) *gi = g;
            if (used) *used = u;
            if (free_mib) *free_mib = f;
            return OK;
        }
    }
    return NOT_FOUND;
}
API int nvmlDeviceGetUUID(device d, char *out, u32 size) {
    ENTER(d);
    if (d->part < 0) return text_of(d, "uuid", out, size);
    char id[96];
    int code = (int)number(d->gpu, "part_code", OK);
    if (!code) code = part(d, id, 0, 0, 0, 0);
    if (!code) snprintf(out, size, "%s", id);
    return code == NOT_FOUND ? INVALID : code;
}
API int nvmlDeviceGetName(device d, char *out, u32 size) {
    ENTER(d);
    int code = text_of(d, "name", out, size);
    char profile[48];
    if (!code && d->part >= 0 && !(code = part(d, 0, 0, profile, 0, 0)))
        snprintf(out + strlen(out), size - strlen(out), " MIG %s", profile);
    return code;
}
API int nvmlDeviceGetVbiosVersion(device d, char *out, u32 size) { ENTER(d); return text_of(d, "vbios", out, size); }
API int nvmlDeviceGetMinorNumber(device d, u32 *out) { ENTER(d); return u32_of(d, "minor", out); }
typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } pci_info;
SIZE(pci_info, 68);
API int nvmlDeviceGetPciInfo_v3(device d, pci_info *out) {
    ENTER(d);
    memset(out, 0, sizeof *out);
    return text_of(d, "pci", out->bus_id, sizeof out->bus_id);
}

#define U32(function, key) API int function(device d, u32 *out) { ENTER(d); return u32_of(d, key, out); }
#define U64(function, key) API int function(device d, u64 *out) { ENTER(d); return value_of(d, key, out); }
U32(nvmlDeviceGetPowerUsage, "power_mw")
U32(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw")
U64(nvmlDeviceGetTotalEnergyConsumption, "energy_mj")
U32(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
U64(nvmlDeviceGetCurrentClocksEventReasons, "throttle_reasons")
U32(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_gen")
U32(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_gen_max")
U32(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
U32(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
U32(nvmlDeviceGetPowerManagementLimit, "power_cap_mw")
U32(nvmlDeviceGetPerformanceState, "pstate")
U32(nvmlDeviceGetPersistenceMode, "persistence")
API int nvmlDeviceGetEccMode(device d, u32 *now, u32 *pending) {
    ENTER(d);
    int code = u32_of(d, "ecc_mode", now);
    *pending = *now;
    return code;
}
API int nvmlDeviceGetTemperatureThreshold(device d, int kind, u32 *out) {
    ENTER(d);
    return u32_of(d, kind == 0 ? "shutdown_temp" : kind == 1 ? "slowdown_temp" : "other_temp", out);
}
typedef struct { u64 total, free, used; } bar1;
API int nvmlDeviceGetBAR1MemoryInfo(device d, bar1 *out) {
    ENTER(d);
    int code = value_of(d, "bar1_total_mib", &out->total);
    if (code || (code = value_of(d, "bar1_used_mib", &out->used))) return code;
    out->total <<= 20; out->used <<= 20; out->free = out->total - out->used;
    return OK;
}

API int nvmlDeviceGetClockInfo(device d, int kind, u32 *out) {
    ENTER(d);
    return u32_of(d, kind == 1 ? "sm_clock" : kind == 2 ? "mem_clock" : "other_clock", out);
}
API int nvmlDeviceGetMaxClockInfo(device d, int kind, u32 *out) {
    ENTER(d);
    return u32_of(d, kind == 1 ? "sm_clock_max" : "other_clock_max", out);
}
API int nvmlDeviceGetTemperature(device d, int sensor, u32 *out) { ENTER(d); (void)sensor; return u32_of(d, "temperature", out); }
typedef struct { u32 version; int sensor; int celsius; } temperature_v1;
SIZE(temperature_v1, 12);
API int nvmlDeviceGetTemperatureV(device d, temperature_v1 *out) { ENTER(d); return u32_of(d, "temperature", (u32 *)&out->celsius); }
typedef struct { u32 version; int margin; } margin_v1;
SIZE(margin_v1, 8);
API int nvmlDeviceGetMarginTemperature(device d, margin_v1 *out) { ENTER(d); return u32_of(d, "margin", (u32 *)&out->margin); }
typedef struct { u32 gpu, memory; } utilization;
API int nvmlDeviceGetUtilizationRates(device d, utilization *out) {
    ENTER(d);
    int code = u32_of(d, "util", &out->gpu);
    return code ? code : u32_of(d, "mem_util", &out->memory);
}
static int codec(device d, const char *key, u32 *out, u32 *period) { *period = 167000; return u32_of(d, key, out); }
API int nvmlDeviceGetEncoderUtilization(device d, u32 *out, u32 *period) { ENTER(d); return codec(d, "encoder", out, period); }
API int nvmlDeviceGetDecoderUtilization(device d, u32 *out, u32 *period) { ENTER(d); return codec(d, "decoder", out, period); }

typedef struct { u64 total, free, used; } memory_v1;
typedef struct { u32 version; u64 total, reserved, free, used; } memory_v2;
SIZE(memory_v2, 40);
#define MIB (1024ull * 1024)
API int nvmlDeviceGetMemoryInfo_v2(device d, memory_v2 *out) {
    ENTER(d);
    u64 used, free_mib, reserved = 0;
    int code = OK;
    if (d->part >= 0) { if (part(d, 0, 0, 0, &used, &free_mib)) return INVALID; }
    else if ((code = value_of(d, "used_mib", &used)) || (code = value_of(d, "free_mib", &free_mib)) ||
             (code = value_of(d, "reserved_mib", &reserved))) return code;
    out->used = (used + reserved) * MIB;                 /* version 2 counts reserved as used */
    out->free = free_mib * MIB; out->reserved = reserved * MIB;
    out->total = out->used + out->free;
    return OK;
}
API int nvmlDeviceGetMemoryInfo(device d, memory_v1 *out) {
    memory_v2 full;
    ENTER(d);
    int code = nvmlDeviceGetMemoryInfo_v2(d, &full);
    if (code == NO_FUNCTION) {
        u64 used = 0, free_mib = 0;
        if ((code = value_of(d, "used_mib", &used)) || (code = value_of(d, "free_mib", &free_mib))) return code;
        full.used = used * MIB; full.free = free_mib * MIB; full.total = full.used + full.free;
    }
    if (code) return code;
    *out = (memory_v1){full.total, full.free, full.used};
    return OK;
}
API int nvmlDeviceGetRemappedRows(device d, u32 *corr, u32 *unc, u32 *pending, u32 *failed) {
    ENTER(d);
    if (look(d->gpu, "mig", 0, 0)) return NOT_SUPPORTED;  /* refused while instances exist */
    int code = u32_of(d, "rows_corrected", corr);
    if (!code) code = u32_of(d, "rows_uncorrected", unc);
    if (!code) code = u32_of(d, "rows_pending", pending);
    return code ? code : u32_of(d, "rows_failed", failed);
}
API int nvmlDeviceGetTotalEccErrors(device d, int kind, int counter, u64 *out) {
    ENTER(d);
    char key[32];
    snprintf(key, sizeof key, "ecc_%s_%s", kind ? "dbe" : "sbe", counter ? "agg" : "vol");
    return value_of(d, key, out);
}
API int nvmlDeviceGetMemoryErrorCounter(device d, int kind, int counter, int place, u64 *out) {
    ENTER(d);
    char key[40];
    snprintf(key, sizeof key, "ecc_%s_%s_at_%d", kind ? "dbe" : "sbe", counter ? "agg" : "vol", place);
    return value_of(d, key, out);
}
typedef struct { u32 version; u64 counts[11]; u32 exceeded; } sram_v1;
SIZE(sram_v1, 104);
API int nvmlDeviceGetSramEccErrorStatus(device d, sram_v1 *out) { ENTER(d); return u32_of(d, "sram_exceeded", &out->exceeded); }
typedef struct { u32 version, channel, tpc; } repairs;
SIZE(repairs, 12);
API int nvmlDeviceGetRepairStatus(device d, repairs *out) {
    ENTER(d);
    int code = u32_of(d, "repair_channel", &out->channel);
    return code ? code : u32_of(d, "repair_tpc", &out->tpc);
}
typedef struct { u32 version; unsigned char cluster[16]; int status; u32 clique, state, mask; } fabric_v2;
SIZE(fabric_v2, 36);
API int nvmlDeviceGetGpuFabricInfoV(device d, fabric_v2 *out) {
    ENTER(d);
    int code = u32_of(d, "fabric_state", &out->state);
    return code ? code : u32_of(d, "fabric_mask", &out->mask);
}
typedef struct { u32 code, state; char info[128], product[128]; u32 enabled, expiry[4]; } license;
typedef struct { int supported; u32 count; license features[3]; } licenses;
SIZE(licenses, 860);
API int nvmlDeviceGetGridLicensableFeatures_v4(device d, licenses *out) {
    ENTER(d);
    u32 state = 0;
    int code = u32_of(d, "license", &state);
    if (code) return code;
    memset(out, 0, sizeof *out);
    out->supported = 1; out->count = 1; out->features[0].code = 1; out->features[0].state = state;
    return OK;
}

/* ---- fields: `field:82 70`, with a scope `field:206.3 1` ---- */
typedef struct { u32 field, scope; long long at, latency; int type, code; union { double d; u64 u; } value; } field_value;
SIZE(field_value, 40);
API int nvmlDeviceGetFieldValues(device d, int count, field_value *items) {
    ENTER(d);
    for (int i = 0; i < count; i++) {
        char key[48];
        if (items[i].scope) snprintf(key, sizeof key, "field:%u.%u", items[i].field, items[i].scope);
        else snprintf(key, sizeof key, "field:%u", items[i].field);
        items[i].type = 3;
        items[i].code = value_of(d, key, &items[i].value.u);
        if (items[i].code == NOT_SUPPORTED && items[i].field > 260) items[i].code = INVALID;
    }
    return OK;
}

/* ---- NVLink: `link:0 1`, errors `link:0.2 17` (link.counter) ---- */
static int link_of(device d, u32 link, int counter, u64 *out) {
    char key[32];
    if ((long)link >= number(d->gpu, "links", 0)) return number(d->gpu, "links", 0) ? INVALID : NOT_SUPPORTED;
    if (counter < 0) snprintf(key, sizeof key, "link:%u", link);
    else snprintf(key, sizeof key, "link:%u.%d", link, counter);
    return value_of(d, key, out);
}
API int nvmlDeviceGetNvLinkState(device d, u32 link, u32 *out) {
    ENTER(d);
    u64 value = 0;
    int code = link_of(d, link, -1, &value);
    if (!code) *out = (u32)value;
    return code;
}
API int nvmlDeviceGetNvLinkErrorCounter(device d, u32 link, int counter, u64 *out) { ENTER(d); return link_of(d, link, counter, out); }

/* ---- MIG and processes ---- */
API int nvmlDeviceGetMigMode(device d, u32 *now, u32 *pending) {
    ENTER(d);
    if (d->part >= 0) return NOT_SUPPORTED;
    int code = u32_of(d, "mig_mode", now);
    *pending = *now;
    return code;
}
API int nvmlDeviceGetMaxMigDeviceCount(device d, u32 *out) { ENTER(d); *out = MAX_PARTS; return OK; }
API int nvmlDeviceGetMigDeviceHandleByIndex(device d, u32 index, device *out) {
    ENTER(d);
    if (index >= MAX_PARTS) return INVALID;
    int code = part(&parts[d->gpu][index], 0, 0, 0, 0, 0);
    if (!code) *out = &parts[d->gpu][index];
    return code;
}
API int nvmlDeviceGetGpuInstanceId(device d, u32 *out) {
    ENTER(d);
    return d->part < 0 ? NOT_SUPPORTED : part(d, 0, out, 0, 0, 0);
}
typedef struct { u32 pid; u64 used; u32 gi, ci; } process;
SIZE(process, 24);
API int nvmlDeviceGetComputeRunningProcesses_v3(device d, u32 *count, process *out) {
    ENTER(d);
    char text[160];
    u32 room = *count, found = 0;
    for (; look(d->gpu, "process", (int)found, text); found++) {
        long long bytes;
        u32 pid;
        if (found < room && out && sscanf(text, "%u %lld", &pid, &bytes) == 2)
            out[found] = (process){pid, (u64)bytes, 0xFFFFFFFFu, 0xFFFFFFFFu};
    }
    *count = found;
    return found > room ? TOO_SMALL : OK;
}

/* ---- events ---- */
typedef struct { device gpu; u64 type, data; u32 gi, ci; } event;
SIZE(event, 32);
typedef struct events { long at; u64 watched; } *events;
static FILE *xids(long at) {
    const char *path = getenv("NVML_STUB_XIDS");
    FILE *file = path ? fopen(path, "r") : 0;
    if (file) fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    return file;
}
API int nvmlEventSetCreate(events *out) {
    int code = enter(__func__);
    if (code) return code;
    *out = calloc(1, sizeof **out);
    FILE *file = xids(-1);
    if (file) {
        fseek(file, 0, SEEK_END);
        (*out)->at = ftell(file);
        fclose(file);
    }
    return OK;
}
API int nvmlEventSetFree(events set) { int code = enter(__func__); free(set); return code; }
API int nvmlDeviceGetSupportedEventTypes(device d, u64 *out) { ENTER(d); return value_of(d, "events", out); }
API int nvmlDeviceRegisterEvents(device d, u64 types, events set) {
    ENTER(d);
    u64 able;
    if (value_of(d, "events", &able) || (types & ~able)) return NOT_SUPPORTED;
    set->watched |= 1ull << d->gpu;
    return OK;
}
static int next(events set, event *out) {
    const char *path = getenv("NVML_STUB_XIDS");
    struct stat now;
    if (!path || stat(path, &now) || now.st_size <= set->at) return 0;   /* cheap while idle */
    FILE *file = xids(set->at);
    char line[64];
    int gpu, code, found = 0;
    /* A line without its end is still being written. */
    while (file && !found && fgets(line, sizeof line, file) && strchr(line, '\n')) {
        set->at = ftell(file);
        if (sscanf(line, "%d %d", &gpu, &code) == 2 && set->watched >> gpu & 1) {
            *out = (event){&whole[gpu], 8, (u64)code, 0xFFFFFFFFu, 0xFFFFFFFFu};
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}
API int nvmlEventSetWait_v2(events set, event *out, u32 timeout_ms) {
    int code = enter(__func__);
    if (code) return code;
    for (long waited = 0;; waited += 10) {
        if (next(set, out)) return OK;
        if (waited >= (long)timeout_ms) return TIMEOUT;
        usleep(10000);
    }
}
