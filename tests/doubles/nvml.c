/* A stand-in for NVIDIA's management library, answering the calls that the real pynvml makes.
 *
 * The folder named by IPW_FAKE_NVML holds `state.bin`, mapped here and by doubles/nvml.py (its structures mirror these),
 * so a test changes faults and settings while the library is in use; and `power.log`, records of (t_ns, gpu, watts) that
 * say how each GPU's power steps. The log is only ever appended to, in order of time, and may reach into the future.
 * Every number answered is the exact integral of that log, seen through latch, window, gain and noise.
 *
 * -DOLD_DRIVER leaves out the functions that drivers before Volta do not have; -DDRIVER_2020 those that came after 2020.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_GPUS = 16, MAX_MIGS = 7, MAX_FAULTS = 8, MAX_PIDS = 8, RING = 119 };
/* ANY is every query of a device whose handle was got; what tells who it is fails by its own name only. */
enum { ANY, ENERGY, POWER_USAGE, POWER_INSTANT, POWER_AVERAGE, FIELDS, GAUGES, PROCESSES, SAMPLES, HANDLE, NAME, UUID, PCI, LIMITS, UTILISATION };
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9 };
enum { SCOPE_GPU, SCOPE_MODULE, SCOPE_MEMORY };
enum { VALUE_UINT = 1, VALUE_ULONGLONG = 3 };

typedef struct {
    int64_t from_ns, until_ns;
    uint32_t call, error;
} fault_t;

typedef struct {
    char uuid[80], bus_id[32], name[96], mig_uuid[MAX_MIGS][80];
    int64_t counter_period_ns, counter_phase_ns, counter_jitter_ns;
    int64_t counter_window_ns; /* 0: counts everything; else it sees only the end of each period, like a part-time sensor */
    int64_t reset_ns;          /* the counter starts again at 0 here; 0: never */
    double counter_start_j;
    int64_t power_period_ns, power_phase_ns, instant_window_ns, average_window_ns;
    int64_t samples_period_ns, samples_window_ns; /* the driver's own ring of power samples; period 0: it has none */
    double gain, noise_rel;
    double gpu_share, module_share, memory_share; /* of the GPU's power, by scope; 0: that scope is not supported */
    int64_t latency_ns, energy_latency_ns; /* of every call; what the energy counter takes on top */
    uint64_t event_reasons, thermal_slowdown_ns, power_capped_ns;
    uint32_t power_limit_mw, temperature_c, sm_mhz, memory_mhz, mig_mode, persistence;
    uint32_t pids[MAX_PIDS], sm[MAX_PIDS]; /* who computes, and for what part of the time, in per cent */
    fault_t faults[MAX_FAULTS];
    uint64_t energy_calls, power_calls, sample_calls; /* what the library was asked, for tests of cost */
    uint32_t field_type, no_limit; /* another type for every field value, and a power limit of 0; 0: as it should be */
} gpu_t;

typedef struct {
    uint32_t gpu_count, init_error;
    int64_t start_ns;
    char driver[80];
    gpu_t gpus[MAX_GPUS];
    int64_t set_ns; /* if not 0, it is this time */
} state_t;

typedef struct { int64_t t_ns, gpu; double watts; } record_t;
typedef struct { int64_t t_ns; double watts, before_j; } step_t;

typedef struct {
    step_t *steps;
    size_t count, room;
    int64_t part_time_latch; /* the last latch in the sum below */
    double part_time_j;
} history_t;

typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, result;
    union {
        uint32_t u32;
        uint64_t u64;
    } value;
} field_t;

typedef struct {
    uint64_t time_us; /* since 1970 */
    union {
        uint32_t u32;
        uint64_t u64;
    } value;
} sample_t;

typedef struct {
    char legacy_id[16];
    uint32_t domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_t;

typedef struct {
    uint32_t pid;
    uint64_t memory;
    uint32_t gpu_instance, compute_instance;
} process_t;

typedef struct {
    uint32_t pid;
    uint64_t memory;
} old_process_t;

typedef struct {
    uint32_t pid;
    uint64_t time_us; /* since 1970 */
    uint32_t sm, memory, encoder, decoder;
} utilisation_t;

static state_t *state;
static int users, log_fd = -1;
static history_t histories[MAX_GPUS];

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static int64_t now_ns(void) { return state && state->set_ns ? state->set_ns : clock_ns(CLOCK_MONOTONIC); }

static void rest(int64_t ns) {
    if (ns > 0) nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

/* Uniform in [-1, 1), the same for the same arguments in every process. */
static double scatter(uint64_t a, uint64_t b) {
    uint64_t x = a * 0x9E3779B97F4A7C15ULL + b + 0x632BE59BD9B4E019ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return (double)((x ^ (x >> 31)) >> 11) / (double)(1ULL << 52) - 1.0;
}

static void read_log(void) {
    record_t r;
    ssize_t n;
    while ((n = read(log_fd, &r, sizeof r)) == sizeof r) {
        history_t *h = &histories[r.gpu];
        if (h->count == h->room) {
            h->room = h->room ? 2 * h->room : 64;
            h->steps = realloc(h->steps, h->room * sizeof *h->steps);
        }
        step_t *last = h->count ? &h->steps[h->count - 1] : NULL;
        double before = last ? last->before_j + last->watts * (double)(r.t_ns - last->t_ns) * 1e-9 : 0.0;
        h->steps[h->count++] = (step_t){r.t_ns, r.watts, before};
    }
    if (n > 0) lseek(log_fd, -n, SEEK_CUR); /* half of a record that is being written: read it again, whole */
}

/* Joules drawn since the start of the log. */
static double drawn_j(int i, int64_t t) {
    history_t *h = &histories[i];
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->steps[middle].t_ns <= t) low = middle + 1;
        else high = middle;
    }
    if (low == 0) return 0.0;
    step_t *s = &h->steps[low - 1];
    return s->before_j + s->watts * (double)(t - s->t_ns) * 1e-9;
}

static double mean_w(int i, int64_t t, int64_t window) {
    if (window < 1000) window = 1000;
    return (drawn_j(i, t) - drawn_j(i, t - window)) / ((double)window * 1e-9);
}

static int64_t latch_time(int i, int64_t k, int64_t period, int64_t phase, int64_t jitter) {
    return state->start_ns + phase + k * period + (int64_t)(scatter((uint64_t)k, (uint64_t)i) * (double)jitter);
}

/* The number of the last moment at which the hardware renewed a value. */
static int64_t last_latch(int i, int64_t t, int64_t period, int64_t phase, int64_t jitter) {
    int64_t k = (t - state->start_ns - phase) / period + 1;
    while (latch_time(i, k, period, phase, jitter) > t) k--;
    return k;
}

static double counted_j(int i, int64_t t) {
    gpu_t *g = &state->gpus[i];
    int64_t period = g->counter_period_ns, phase = g->counter_phase_ns, jitter = g->counter_jitter_ns;
    int64_t k = last_latch(i, t, period, phase, jitter), at = latch_time(i, k, period, phase, jitter);
    if (g->counter_window_ns) {
        history_t *h = &histories[i];
        while (h->part_time_latch < k) {
            int64_t next = latch_time(i, ++h->part_time_latch, period, phase, jitter);
            h->part_time_j += g->gain * mean_w(i, next, g->counter_window_ns) * (double)period * 1e-9;
        }
        return g->counter_start_j + h->part_time_j;
    }
    if (g->reset_ns && t >= g->reset_ns) return at < g->reset_ns ? 0.0 : g->gain * (drawn_j(i, at) - drawn_j(i, g->reset_ns));
    return g->counter_start_j + g->gain * drawn_j(i, at);
}

/* What the sensor makes of the window that ends at its k-th moment. */
static double sensed_w(int i, int64_t k, int64_t at, int64_t window) {
    gpu_t *g = &state->gpus[i];
    double watts = g->gain * mean_w(i, at, window);
    watts *= 1.0 + g->noise_rel * scatter((uint64_t)k, (uint64_t)i + MAX_GPUS);
    return watts > 0 ? watts : 0;
}

static double shown_w(int i, int64_t t, int64_t window) {
    gpu_t *g = &state->gpus[i];
    int64_t k = last_latch(i, t, g->power_period_ns, g->power_phase_ns, 0);
    return sensed_w(i, k, latch_time(i, k, g->power_period_ns, g->power_phase_ns, 0), window);
}

static int failure(gpu_t *g, uint32_t call) {
    int64_t t = now_ns();
    for (int i = 0; i < MAX_FAULTS; i++) {
        fault_t *f = &g->faults[i];
        if (f->error && t >= f->from_ns && t < f->until_ns && ((f->call == ANY && (call < HANDLE || call == UTILISATION)) || f->call == call)) return (int)f->error;
    }
    return OK;
}

/* A handle is the address of a GPU, or of a MIG instance's name inside of one. */
static int number_of(void *handle) { return (int)(((char *)handle - (char *)state->gpus) / (long)sizeof(gpu_t)); }
static int is_mig(void *handle) { return handle != (void *)&state->gpus[number_of(handle)]; }

/* What every query of a device begins with: the call's latency, then its faults. */
static int enter(void *handle, uint32_t call) {
    if (!users) return UNINITIALIZED;
    if (!handle) return INVALID;
    gpu_t *g = &state->gpus[number_of(handle)];
    rest(g->latency_ns + (call == ENERGY ? g->energy_latency_ns : 0));
    read_log();
    return failure(g, call);
}

static int copy(char *to, const char *from, uint32_t room) {
    if (strlen(from) >= room) return TOO_SMALL;
    strcpy(to, from);
    return OK;
}

int nvmlInitWithFlags(uint32_t flags) {
    (void)flags;
    if (users) return users++, OK;
    const char *folder = getenv("IPW_FAKE_NVML");
    if (!folder) return NOT_LOADED;
    char path[4096];
    snprintf(path, sizeof path, "%s/state.bin", folder);
    int fd = open(path, O_RDWR);
    if (fd < 0) return NOT_LOADED;
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    snprintf(path, sizeof path, "%s/power.log", folder);
    log_fd = open(path, O_RDONLY);
    if (state == MAP_FAILED || log_fd < 0) return NOT_LOADED;
    if (state->init_error) return (int)state->init_error;
    return users = 1, OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!users) return UNINITIALIZED;
    if (--users) return OK;
    for (int i = 0; i < MAX_GPUS; i++) free(histories[i].steps);
    memset(histories, 0, sizeof histories);
    munmap(state, sizeof *state);
    close(log_fd);
    return OK;
}

const char *nvmlErrorString(int result) {
    switch (result) {
    case OK: return "Success";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_LOADED: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    case 27: return "System is not in ready state";
    default: return "Stand-in error";
    }
}
int nvmlSystemGetDriverVersion(char *version, uint32_t room) { return copy(version, state->driver, room); }
int nvmlSystemGetNVMLVersion(char *version, uint32_t room) { return copy(version, "13.0", room); }

int nvmlDeviceGetCount_v2(uint32_t *count) {
    if (!users) return UNINITIALIZED;
    return *count = state->gpu_count, OK;
}
int nvmlDeviceGetHandleByIndex_v2(uint32_t index, void **handle) {
    if (!users) return UNINITIALIZED;
    if (index >= state->gpu_count) return INVALID;
    int error = failure(&state->gpus[index], HANDLE);
    return error ? error : (*handle = &state->gpus[index], OK);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (uint32_t i = 0; i < state->gpu_count; i++) {
        if (!strcmp(uuid, state->gpus[i].uuid)) return *handle = &state->gpus[i], OK;
        for (int m = 0; m < MAX_MIGS; m++)
            if (!strcmp(uuid, state->gpus[i].mig_uuid[m])) return *handle = state->gpus[i].mig_uuid[m], OK;
    }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **handle) {
    for (uint32_t i = 0; i < state->gpu_count; i++)
        if (!strcasecmp(bus_id, state->gpus[i].bus_id)) return *handle = &state->gpus[i], OK;
    return NOT_FOUND;
}
int nvmlDeviceGetName(void *handle, char *name, uint32_t room) {
    int error = failure(&state->gpus[number_of(handle)], NAME);
    if (error) return error;
    return copy(name, state->gpus[number_of(handle)].name, room);
}
int nvmlDeviceGetUUID(void *handle, char *uuid, uint32_t room) {
    int error = failure(&state->gpus[number_of(handle)], UUID);
    if (error) return error;
    return copy(uuid, is_mig(handle) ? handle : state->gpus[number_of(handle)].uuid, room);
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *pci) {
    int error = failure(&state->gpus[number_of(handle)], PCI);
    if (error) return error;
    memset(pci, 0, sizeof *pci);
    memcpy(pci->bus_id, state->gpus[number_of(handle)].bus_id, sizeof pci->bus_id);
    sscanf(pci->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, uint32_t *current, uint32_t *pending) {
    return *current = *pending = state->gpus[number_of(handle)].mig_mode, OK;
}
int nvmlDeviceIsMigDeviceHandle(void *handle, uint32_t *answer) { return *answer = (uint32_t)is_mig(handle), OK; }
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **parent) {
    if (!is_mig(handle)) return INVALID;
    return *parent = &state->gpus[number_of(handle)], OK;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, uint32_t *count) {
    return *count = state->gpus[number_of(handle)].mig_mode ? MAX_MIGS : 0, OK;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, uint32_t index, void **mig) {
    gpu_t *g = &state->gpus[number_of(handle)];
    if (index >= MAX_MIGS) return INVALID;
    if (!g->mig_uuid[index][0]) return NOT_FOUND;
    return *mig = g->mig_uuid[index], OK;
}

int nvmlDeviceGetPowerUsage(void *handle, uint32_t *milliwatts) {
    int error = enter(handle, POWER_USAGE), i = number_of(handle);
    if (error) return error;
    if (is_mig(handle)) return NOT_SUPPORTED;
    state->gpus[i].power_calls++;
    return *milliwatts = (uint32_t)(shown_w(i, now_ns(), state->gpus[i].average_window_ns) * 1000), OK;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, uint32_t *milliwatts) {
    int error = enter(handle, GAUGES);
    return error ? error : (*milliwatts = state->gpus[number_of(handle)].power_limit_mw, OK);
}
int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, uint32_t *least, uint32_t *most) {
    int error = enter(handle, LIMITS);
    gpu_t *g = &state->gpus[number_of(handle)];
    return error ? error : (*least = g->no_limit ? 0 : 100000, *most = g->no_limit ? 0 : g->power_limit_mw, OK);
}
int nvmlDeviceGetTemperature(void *handle, uint32_t sensor, uint32_t *celsius) {
    int error = enter(handle, GAUGES);
    (void)sensor;
    return error ? error : (*celsius = state->gpus[number_of(handle)].temperature_c, OK);
}
int nvmlDeviceGetClockInfo(void *handle, uint32_t type, uint32_t *mhz) {
    int error = enter(handle, GAUGES);
    gpu_t *g = &state->gpus[number_of(handle)];
    return error ? error : (*mhz = type == 2 ? g->memory_mhz : g->sm_mhz, OK);
}
/* What zeus and codecarbon ask before they measure, and ours does not: a Hopper of 80 GB whose memory nobody has. */
int nvmlDeviceGetArchitecture(void *handle, uint32_t *architecture) { return (void)handle, *architecture = 9, OK; }
int nvmlDeviceGetComputeMode(void *handle, uint32_t *mode) { return (void)handle, *mode = 0, OK; }
int nvmlDeviceGetUtilizationRates(void *handle, uint32_t rates[2]) { return (void)handle, rates[0] = 100, rates[1] = 0, OK; }
int nvmlDeviceGetMemoryInfo(void *handle, uint64_t total_free_used[3]) {
    (void)handle;
    return total_free_used[0] = total_free_used[1] = 80ull << 30, total_free_used[2] = 0, OK;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, uint32_t *count, void *list) {
    return (void)handle, (void)list, *count = 0, OK;
}
int nvmlDeviceGetPersistenceMode(void *handle, uint32_t *mode) {
    return *mode = state->gpus[number_of(handle)].persistence, OK;
}
static int processes(void *handle, uint32_t *count, void *list, int old) {
    int error = enter(handle, PROCESSES);
    if (error) return error;
    gpu_t *g = &state->gpus[number_of(handle)];
    uint32_t room = list ? *count : 0, n = 0;
    while (n < MAX_PIDS && g->pids[n]) n++;
    *count = n;
    if (n > room) return TOO_SMALL;
    for (uint32_t i = 0; i < n; i++) {
        if (old) ((old_process_t *)list)[i] = (old_process_t){g->pids[i], 1 << 30};
        else ((process_t *)list)[i] = (process_t){g->pids[i], 1 << 30, 0xFFFFFFFF, 0xFFFFFFFF};
    }
    return OK;
}
#if defined OLD_DRIVER || defined DRIVER_2020
int nvmlDeviceGetComputeRunningProcesses(void *h, uint32_t *count, old_process_t *list) { return processes(h, count, list, 1); }
#else
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, uint32_t *count, process_t *list) { return processes(h, count, list, 0); }
#endif

#ifndef OLD_DRIVER
/* As drivers do it: room for 100 is asked for whoever is there, and what is left over of it holds no process. */
int nvmlDeviceGetProcessUtilization(void *handle, utilisation_t *list, uint32_t *count, uint64_t since_us) {
    int error = enter(handle, UTILISATION);
    uint32_t room = list ? *count : 0, n = 0;
    uint64_t us = (uint64_t)(clock_ns(CLOCK_REALTIME) / 1000);
    if (error) return error;
    if (is_mig(handle)) return NOT_SUPPORTED;
    *count = 100;
    if (room < 100) return TOO_SMALL;
    gpu_t *g = &state->gpus[number_of(handle)];
    for (uint32_t i = 0; i < MAX_PIDS && us > since_us; i++)
        if (g->sm[i]) list[n++] = (utilisation_t){g->pids[i], us, g->sm[i], 1, 0, 0};
    if (!n) return NOT_FOUND;
    for (; n < 100; n++) list[n] = n % 2 ? (utilisation_t){0, us, 77, 0, 0, 0} : (utilisation_t){1, us, 2863311530u, 0, 0, 0};
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, uint64_t *millijoules) {
    int error = enter(handle, ENERGY), i = number_of(handle);
    if (error) return error;
    if (is_mig(handle)) return NOT_SUPPORTED;
    state->gpus[i].energy_calls++;
    return *millijoules = (uint64_t)(counted_j(i, now_ns()) * 1000), OK;
}
#ifdef DRIVER_2020
#define nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons
#endif
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, uint64_t *reasons) {
    int error = enter(handle, GAUGES);
    return error ? error : (*reasons = state->gpus[number_of(handle)].event_reasons, OK);
}

/* Wall over monotonic clock; kept until the clock is set, as a sample must have the same time in every call. */
static int64_t wall_ahead_ns(void) {
    static int64_t kept;
    int64_t before = now_ns(), wall = clock_ns(CLOCK_REALTIME), after = now_ns(), slack = 10000;
    if (kept < wall - after - slack || kept > wall - before + slack) kept = wall - after;
    return kept;
}

int nvmlDeviceGetSamples(void *handle, uint32_t type, uint64_t last_seen_us, uint32_t *value_type, uint32_t *count,
                         sample_t *samples) {
    int error = enter(handle, SAMPLES), i = number_of(handle);
    if (error) return error;
    gpu_t *g = &state->gpus[i];
    int64_t period = g->samples_period_ns;
    if (is_mig(handle) || type != 0 || period == 0) return NOT_SUPPORTED; /* 0: total power */
    if (samples && *count == 0) return INVALID;
    int64_t ahead = wall_ahead_ns(), newest = last_latch(i, now_ns(), period, 0, 0);
    uint32_t n = 0, room = samples ? *count : RING; /* one more sample may have come since the caller asked how many */
    for (int64_t k = newest < RING ? 0 : newest - RING + 1; k <= newest && n < room; k++) {
        int64_t at = latch_time(i, k, period, 0, 0);
        uint64_t time_us = (uint64_t)(at + ahead) / 1000;
        if (time_us <= last_seen_us) continue;
        if (samples) {
            samples[n].time_us = time_us;
            samples[n].value.u64 = 0;
            samples[n].value.u32 = (uint32_t)(sensed_w(i, k, at, g->samples_window_ns) * 1000);
        }
        n++;
    }
    if (n == 0) return NOT_FOUND;
    if (samples) g->sample_calls++;
    return *value_type = VALUE_UINT, *count = n, OK;
}

#ifndef DRIVER_2020
static int power_field(int i, field_t *f, uint32_t call, int64_t window) {
    gpu_t *g = &state->gpus[i];
    double share = f->scope == SCOPE_GPU ? g->gpu_share : f->scope == SCOPE_MODULE ? g->module_share : f->scope == SCOPE_MEMORY ? g->memory_share : 0;
    int error = failure(g, call);
    if (error) return error;
    if (share == 0) return NOT_SUPPORTED;
    g->power_calls++;
    f->type = VALUE_UINT;
    f->value.u32 = (uint32_t)(share * shown_w(i, now_ns(), window) * 1000);
    return OK;
}

#endif

static int fill(int i, field_t *f) {
    gpu_t *g = &state->gpus[i];
    int error;
    switch (f->field) {
    case 83: /* total energy, mJ */
        if (g->energy_latency_ns) rest(g->energy_latency_ns), read_log(); /* what happened meanwhile counts */
        if ((error = failure(g, ENERGY))) return error;
        g->energy_calls++;
        f->type = VALUE_ULONGLONG;
        f->value.u64 = (uint64_t)(counted_j(i, now_ns()) * 1000);
        return OK;
#ifndef DRIVER_2020
    case 185: return power_field(i, f, POWER_AVERAGE, g->average_window_ns);
    case 186: return power_field(i, f, POWER_INSTANT, g->instant_window_ns);
#endif
    case 74: case 75: case 269: case 270: case 271: /* cumulative ns under a limit */
        if ((error = failure(g, GAUGES))) return error;
        f->type = VALUE_ULONGLONG;
        f->value.u64 = f->field == 269 ? g->thermal_slowdown_ns : f->field == 74 ? g->power_capped_ns : 0;
        return OK;
    default: return NOT_SUPPORTED;
    }
}

int nvmlDeviceGetFieldValues(void *handle, int count, field_t *fields) {
    int error = enter(handle, FIELDS);
    if (error) return error;
    if (is_mig(handle)) return NOT_SUPPORTED;
    for (int n = 0; n < count; n++) {
        fields[n].timestamp_us = now_ns() / 1000;
        fields[n].latency_us = 10;
        fields[n].result = (uint32_t)fill(number_of(handle), &fields[n]);
        if (state->gpus[number_of(handle)].field_type) fields[n].type = state->gpus[number_of(handle)].field_type;
    }
    return OK;
}
#endif
