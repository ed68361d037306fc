/* The command line of the load generator; load.c says what it means. Include it after _GNU_SOURCE. */
#ifndef FANWIRE_BENCH_OPTIONS_H
#define FANWIRE_BENCH_OPTIONS_H

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static struct {
    const char *host, *path, *tokens, *subscribe, *channel, *event_prefix, *dialect;
    unsigned port, connections, in_flight, sample, stalled, sources, deadline_seconds, groups, own;
} options = {
    .host = "127.0.0.1", .path = "/ws", .event_prefix = "{\"type\":\"u\"", .dialect = "fanwire",
    .connections = 1, .in_flight = 64, .sample = 100, .sources = 1, .deadline_seconds = 60,
};

static char **tokens;
static size_t token_count, event_prefix_bytes;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_tokens(void) {
    FILE *file = fopen(options.tokens, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    if (!file) die("--tokens");
    tokens = calloc(options.connections, sizeof *tokens);
    while (token_count < options.connections && (length = getline(&line, &room, file)) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static void read_options(int count, char **arguments) {
    static const struct { const char *name; const char **text; unsigned *number; } known[] = {
        {"host", &options.host, NULL}, {"path", &options.path, NULL}, {"tokens", &options.tokens, NULL},
        {"subscribe", &options.subscribe, NULL}, {"event-prefix", &options.event_prefix, NULL},
        {"port", NULL, &options.port}, {"connections", NULL, &options.connections},
        {"in-flight", NULL, &options.in_flight}, {"sample", NULL, &options.sample},
        {"stalled", NULL, &options.stalled}, {"sources", NULL, &options.sources},
        {"deadline", NULL, &options.deadline_seconds}, {"groups", NULL, &options.groups},
        {"own", NULL, &options.own}, {"channel", &options.channel, NULL}, {"dialect", &options.dialect, NULL},
    };
    enum { KNOWN = sizeof known / sizeof *known };
    struct option table[KNOWN + 1] = {0};
    for (int i = 0; i < KNOWN; i++)
        table[i] = (struct option){.name = known[i].name, .has_arg = required_argument, .val = i + 1};
    for (int chosen; (chosen = getopt_long(count, arguments, "", table, NULL)) != -1;) {
        if (chosen < 1 || chosen > KNOWN) exit(2);
        if (known[chosen - 1].text)
            *known[chosen - 1].text = optarg;
        else
            *known[chosen - 1].number = (unsigned)strtoul(optarg, NULL, 10);
    }
    if (!options.port || !options.connections || !options.in_flight || options.sources > 250 ||
        (options.own && !options.channel)) {
        fprintf(stderr, "load: --port, --connections and --in-flight are positive, --sources at most 250, "
                        "--own needs --channel\n");
        exit(2);
    }
    event_prefix_bytes = strlen(options.event_prefix);
}

#endif
