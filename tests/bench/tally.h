/* Counts by a short name that the peer chose; bounded, the sixteenth and later names are counted as one. */
#ifndef FANWIRE_BENCH_TALLY_H
#define FANWIRE_BENCH_TALLY_H

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { TALLY_NAMES = 16, TALLY_LENGTH = 32 };

struct tally {
    struct { char name[TALLY_LENGTH]; uint64_t count; } rows[TALLY_NAMES];
    unsigned used;
};

/* The names end up in our JSON, so nothing but plain characters is kept. */
static inline void tally_clean(char *out, const char *name, size_t length) {
    if (length >= TALLY_LENGTH) length = TALLY_LENGTH - 1;
    for (size_t i = 0; i < length; i++)
        out[i] = isalnum((unsigned char)name[i]) || (name[i] && strchr("_.:-", name[i])) ? name[i] : '?';
    out[length] = 0;
}

static inline void tally_add(struct tally *self, const char *name, size_t length) {
    char clean[TALLY_LENGTH];
    tally_clean(clean, name, length);
    unsigned row = 0;
    while (row < self->used && strcmp(self->rows[row].name, clean) != 0) row++;
    if (row == self->used) {
        if (row == TALLY_NAMES) {
            row = TALLY_NAMES - 1;
        } else {
            strcpy(self->rows[row].name, row == TALLY_NAMES - 1 ? "more" : clean);
            self->used++;
        }
    }
    self->rows[row].count++;
}

static inline void tally_count(struct tally *self, const char *name) { tally_add(self, name, strlen(name)); }

static inline void tally_print(const struct tally *self, FILE *out) {
    fputc('{', out);
    for (unsigned i = 0; i < self->used; i++)
        fprintf(out, "%s\"%s\":%llu", i ? "," : "", self->rows[i].name,
                (unsigned long long)self->rows[i].count);
    fputc('}', out);
}

#endif
