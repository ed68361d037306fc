/* Durations in log-linear buckets: 64 per doubling, so a percentile is off by at most 1.6 %. */
#ifndef FANWIRE_BENCH_HISTOGRAM_H
#define FANWIRE_BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, BUCKETS = STEPS * (64 - STEP_BITS + 1) };

struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t total;
    uint64_t largest;
};

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline unsigned histogram_bucket(uint64_t value) {
    if (value < STEPS) return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)((value >> shift) - STEPS);
}

/* The largest value that falls into a bucket, so that a percentile never flatters. */
static inline uint64_t histogram_upper(unsigned bucket) {
    if (bucket < STEPS) return bucket;
    unsigned shift = bucket / STEPS - 1;
    return (((uint64_t)(bucket % STEPS + STEPS) + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *self, uint64_t value) {
    self->counts[histogram_bucket(value)]++;
    self->total++;
    if (value > self->largest) self->largest = value;
}

static inline uint64_t histogram_at(const struct histogram *self, double fraction) {
    uint64_t rank = (uint64_t)(fraction * (double)self->total + 0.999999);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += self->counts[bucket];
        if (seen >= rank && seen) {
            uint64_t upper = histogram_upper(bucket);
            return upper < self->largest ? upper : self->largest;
        }
    }
    return 0;
}

/* Prints a JSON object, in microseconds. */
static inline void histogram_print(const struct histogram *self, FILE *out) {
    fprintf(out, "{\"count\":%llu", (unsigned long long)self->total);
    static const struct { const char *name; double fraction; } marks[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999},
    };
    for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++)
        fprintf(out, ",\"%s\":%.1f", marks[i].name, (double)histogram_at(self, marks[i].fraction) / 1e3);
    fprintf(out, ",\"max\":%.1f}", (double)self->largest / 1e3);
}

#endif
