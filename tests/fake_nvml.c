/* libnvidia-ml.so.1 without a GPU: answers from the file that $FAKE_NVML names, read anew at each call.
   A line is a name and its values; "!15" is NVML's error 15; a name that is missing is "not supported".
   Structures as in nvml.h of the CUDA toolkit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } process_t;
typedef struct { unsigned pid; unsigned long long time; unsigned sm, memory, encoder, decoder; } sample_t;
typedef struct { unsigned long long reference, violation; } violation_t;
typedef struct { unsigned gpu, memory; } rates_t;
typedef union { double real; unsigned small; unsigned long long large; } value_t;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type;
    int status;
    value_t value;
} field_t;

static int look_up(const char *name, char *values, size_t size) {
    char line[4096];
    int status = NOT_SUPPORTED;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return NOT_SUPPORTED;
    while (status == NOT_SUPPORTED && fgets(line, sizeof line, file)) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) || (line[length] != ' ' && line[length] != '\n')) continue;
        snprintf(values, size, "%s", line + length);
        status = values[strspn(values, " ")] == '!' ? atoi(values + strspn(values, " ") + 1) : SUCCESS;
        break;
    }
    fclose(file);
    return status;
}

static int number(const char *name, unsigned *value) {
    char values[4096];
    int status = look_up(name, values, sizeof values);
    if (!status) *value = (unsigned)strtoul(values, NULL, 10);
    return status;
}

static int long_number(const char *name, unsigned long long *value) {
    char values[4096];
    int status = look_up(name, values, sizeof values);
    if (!status) *value = strtoull(values, NULL, 10);
    return status;
}

int nvmlInitWithFlags(unsigned flags) {
    unsigned ignored;
    int status = number("init", &ignored);
    return status == NOT_SUPPORTED ? SUCCESS : status;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    char known[4096];
    if (look_up("uuid", known, sizeof known) || !strstr(known, uuid)) return NOT_FOUND;
    *device = (void *)1;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(void *device, unsigned kind, unsigned *mhz) {
    return number(kind == 2 ? "memory_clock" : "sm_clock", mhz);
}

int nvmlDeviceGetMaxClockInfo(void *device, unsigned kind, unsigned *mhz) {
    return number("max_clock", mhz);
}

int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *celsius) {
    return number("temperature", celsius);
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) {
    return number("power_limit", milliwatts);
}

int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *milliwatts) {
    return number("power_limit_default", milliwatts);
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    return long_number("energy", millijoules);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { return number("power", milliwatts); }

/* Of the fields, the power of now alone (NVML_FI_DEV_POWER_INSTANT). */
int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields) {
    for (field_t *each = fields; each < fields + count; each++) {
        each->type = 1;
        each->status = each->field == 186 ? number("power_instant", &each->value.small) : NOT_SUPPORTED;
    }
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    return long_number("reasons", reasons);
}

int nvmlDeviceGetUtilizationRates(void *device, rates_t *rates) {
    rates->memory = 0;
    return number("utilization", &rates->gpu);
}

int nvmlDeviceGetViolationStatus(void *device, unsigned policy, violation_t *found) {
    found->reference = 0;
    return long_number(policy == 0 ? "power_violation" : "thermal_violation", &found->violation);
}

/* Processes are written pid or pid:bytes. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *processes) {
    char values[4096], *rest = values, *end;
    unsigned room = *count, seen = 0;
    int status = look_up("processes", values, sizeof values);
    if (status) return status;
    for (unsigned long pid = strtoul(rest, &end, 10); end != rest; pid = strtoul(rest = end, &end, 10), seen++) {
        unsigned long long memory = *end == ':' ? strtoull(end + 1, &end, 10) : 1 << 20;
        if (processes && seen < room) processes[seen] = (process_t){(unsigned)pid, memory, 0, 0};
    }
    *count = seen;
    return seen > room ? INSUFFICIENT_SIZE : SUCCESS;
}

/* Samples are written pid:percent. */
int nvmlDeviceGetProcessUtilization(void *device, sample_t *samples, unsigned *count, unsigned long long since) {
    char values[4096], *rest = values, *end;
    unsigned room = samples ? *count : 0, seen = 0;
    int status = look_up("process_utilization", values, sizeof values);
    if (status) return status;
    for (unsigned long pid = strtoul(rest, &end, 10); end != rest; pid = strtoul(rest = end, &end, 10), seen++) {
        unsigned sm = (unsigned)strtoul(end + 1, &end, 10);
        if (seen < room) samples[seen] = (sample_t){(unsigned)pid, since + 1, sm, 0, 0, 0};
    }
    *count = seen;
    if (!seen) return NOT_FOUND;
    return seen > room ? INSUFFICIENT_SIZE : SUCCESS;
}
