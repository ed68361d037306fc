/*
 * Storm of reconnects: many WebSocket clients in one thread that lose their edge together and resume.
 *
 *     storm PORT CONNECTIONS GROUPS WINDOW_MS TOKENS
 *
 * Client i is on tenant:acme:resource:storm:(i mod GROUPS), whose events have the payload {"n":…,"t":…}: n
 * counts from 1 without a hole, t is when it was meant to be sent (CLOCK_MONOTONIC, ns). TOKENS is a file
 * with a line for each token. Prints {"ready": …} when all are open; then a line on the standard input
 *     storm PORT  lets whoever is cut come back to PORT, each at a random time within WINDOW_MS
 *     report      prints how many are back and what they got
 *     quit        ends; so does the end of the input
 * Each client keeps what PROTOCOL §6 asks for: the positions it was told last, and the last offset. It is
 * level when a command behind its `subscribe` with `since` is answered, before which the replay has come.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "histogram.h"
#include "tally.h"
#include "websocket.h"

enum { INBOX_BYTES = 1 << 20, TEXT_BYTES = 4096, POSITION_BYTES = 64, READY_EVENTS = 1024, SOURCES = 8 };
enum { IN_FLIGHT = 64, TICK_MS = 5, REFUSED_WAIT_MS = 250, NS_PER_MS = 1000000 };
enum stage { WAITING, CONNECTING, UPGRADING, GREETING, SUBSCRIBING, LEVEL };

struct client {
    int fd;
    uint8_t stage;
    bool resumes;                /* whether this is a connection after the first */
    unsigned lives;              /* connections that came to be level */
    uint64_t due_ns;             /* when to come back */
    uint64_t cut_ns, began_ns, asked_ns;
    uint64_t last;               /* the number of the last event */
    char position[POSITION_BYTES]; /* its position, empty where `positions` is younger */
    char id[40];
    char *positions;             /* the object as it came */
    uint8_t *rest;               /* the beginning of a frame whose end has not arrived */
    uint32_t rest_bytes;
};

static const uint32_t standard_input = UINT32_MAX;
static struct client *clients;
static char **tokens;
static size_t token_count;
static unsigned count, groups, window_ms, port, opening, level, back;
static int poller;
static uint8_t inbox[INBOX_BYTES];
static uint64_t chance = 0x9e3779b97f4a7c15u, events, replayed, twice, holes, late, last_back_ns;
static struct histogram greetings, answers, levels, outages;
static struct tally cuts, refused, others, recovered;

static void die(const char *what) {
    fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t within(uint64_t milliseconds) {
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    return chance % (milliseconds * NS_PER_MS + 1);
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file || !(tokens = calloc(count, sizeof *tokens))) die(path);
    while (token_count < count && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

/* Ends this connection; the client comes back after `wait_ns`. */
static void lose(struct client *c, const char *reason, uint64_t wait_ns) {
    tally_count(&cuts, reason);
    if (c->stage == LEVEL) {
        level--;
        back -= c->resumes;
        c->cut_ns = now_ns();
        c->resumes = true;
    } else if (!c->resumes) {
        opening--;
    }
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_bytes = 0;
    c->stage = WAITING;
    c->due_ns = now_ns() + wait_ns;
}

static void lose_to_storm(struct client *c, const char *reason) { lose(c, reason, within(window_ms)); }

static void watch(struct client *c, int operation, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.u32 = (uint32_t)(c - clients)};
    if (epoll_ctl(poller, operation, c->fd, &event) != 0) die("epoll_ctl");
}

static void transmit(struct client *c, const void *data, size_t length) {
    if (send(c->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) lose_to_storm(c, "send");
}

static void start(struct client *c) {
    unsigned index = (unsigned)(c - clients);
    int on = 1;
    c->stage = CONNECTING;
    c->began_ns = now_ns();
    if (!c->resumes) opening++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket (raise the limit of open files)");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % SOURCES);
    if (bind(c->fd, (struct sockaddr *)&own, sizeof own) != 0) die("bind");
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&peer, sizeof peer) != 0 && errno != EINPROGRESS)
        lose(c, "connect", REFUSED_WAIT_MS * NS_PER_MS + within(REFUSED_WAIT_MS));
    else
        watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Writes the client's positions by `form`, which has a %s for the topic and one for the position. */
static size_t put_positions(const struct client *c, char *out, size_t room, const char *form, const char *glue) {
    size_t length = 0;
    const char *at = c->positions;
    char topic[130], position[POSITION_BYTES];
    int taken = 0;
    while (at && sscanf(at, "%*[{,]\"%129[^\"]\":\"%63[^\"]\"%n", topic, position, &taken) == 2) {
        const char *place = strcmp(topic, "storm") == 0 && *c->position ? c->position : position;
        if (length) length += (size_t)snprintf(out + length, room - length, "%s", glue);
        length += (size_t)snprintf(out + length, room - length, form, topic, place);
        if (length >= room) die("too many positions");
        at += taken;
    }
    return length;
}

static void request_upgrade(struct client *c) {
    static char request[TEXT_BYTES * 2], query[TEXT_BYTES];
    const char *token = tokens[(size_t)(c - clients) % token_count];
    query[0] = 0;
    if (c->resumes) {
        int length = snprintf(query, sizeof query, "?client=%s&", c->id);
        put_positions(c, query + length, sizeof query - (size_t)length, "since=%s@%s", "&");
    }
    int length = snprintf(request, sizeof request,
        "GET /ws%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZmFud2lyZS1iZW5jaG1hcg==\r\n"
        "Sec-WebSocket-Protocol: fanwire.v1.json, bearer, %s\r\n\r\n", query, port, token);
    if (length >= (int)sizeof request) die("a token is too long");
    c->stage = UPGRADING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    transmit(c, request, (size_t)length);
}

static void subscribe(struct client *c) {
    static char command[TEXT_BYTES];
    static uint8_t frames[TEXT_BYTES * 2];
    unsigned group = (unsigned)(c - clients) % groups;
    int length = snprintf(command, sizeof command,
        "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"tenant:acme:resource:storm:%u\"", group);
    if (c->resumes) {
        length += snprintf(command + length, sizeof command - (size_t)length, ",\"since\":{");
        length += (int)put_positions(c, command + length, sizeof command - (size_t)length, "\"%s\":\"%s\"", ",");
        command[length++] = '}';
    }
    command[length++] = '}';
    size_t size = frame_put(frames, TEXT, command, (size_t)length);
    length = snprintf(command, sizeof command,
        "{\"type\":\"subscribe\",\"id\":2,\"channel\":\"tenant:acme:resource:storm:%u\"}", group);
    size += frame_put(frames + size, TEXT, command, (size_t)length);
    c->stage = SUBSCRIBING;
    c->asked_ns = now_ns();
    transmit(c, frames, size);
}

static size_t take_upgrade(struct client *c, const uint8_t *data, size_t available) {
    const uint8_t *end = memmem(data, available, "\r\n\r\n", 4);
    if (!end) return 0;
    if (available >= 12 && memcmp(data, "HTTP/1.1 101", 12) == 0) {
        c->stage = GREETING;
        return (size_t)(end - data) + 4;
    }
    tally_add(&refused, (const char *)data + 9, 3);
    const char *after = memmem(data, available, "Retry-After: ", 13);
    lose(c, "refused", (after ? strtoul(after + 13, NULL, 10) : 1) * 1000 * NS_PER_MS + within(1000));
    return available;
}

static const char *find(const struct frame *frame, const char *what) {
    size_t length = strlen(what);
    const char *found = memmem(frame->payload, frame->length, what, length);
    return found ? found + length : NULL;
}

static void copy(char *out, size_t room, const char *text, const struct frame *frame) {
    const char *end = (const char *)frame->payload + frame->length;
    size_t length = 0;
    while (text + length < end && text[length] != '"' && length < room - 1) length++;
    memcpy(out, text, length);
    out[length] = 0;
}

static void take_positions(struct client *c, const struct frame *frame) {
    const char *found = find(frame, "\"positions\":"), *stop = (const char *)frame->payload + frame->length;
    const char *end = found ? memchr(found, '}', (size_t)(stop - found)) : NULL;
    if (!end) return;
    free(c->positions);
    c->positions = strndup(found, (size_t)(end - found) + 1);
    c->position[0] = 0;
}

/* t of an event that comes after the replay, though it was published a second before `subscribe`, is late. */
static void take_event(struct client *c, const struct frame *frame) {
    const char *number = find(frame, "\"n\":"), *time = find(frame, "\"t\":");
    const char *offset = find(frame, "\"offset\":\"storm@");
    if (!number || !time || !offset) {
        tally_count(&others, "odd-event");
        return;
    }
    uint64_t n = strtoull(number, NULL, 10), t = strtoull(time, NULL, 10);
    events++;
    replayed += c->resumes && t < c->asked_ns;
    twice += n <= c->last;
    holes += n > c->last + 1;
    late += c->resumes && c->stage == LEVEL && t + 1000ull * NS_PER_MS < c->asked_ns;
    c->last = n;
    copy(c->position, sizeof c->position, offset, frame);
}

static void become_level(struct client *c) {
    uint64_t now = now_ns();
    c->stage = LEVEL;
    c->lives++;
    level++;
    if (!c->resumes) {
        opening--;
        return;
    }
    back++;
    last_back_ns = now;
    histogram_add(&levels, now - c->asked_ns);
    histogram_add(&outages, now - c->cut_ns);
}

static void take_subscribed(struct client *c, const struct frame *frame) {
    if (find(frame, "\"replyTo\":2")) {
        become_level(c);
    } else if (c->resumes) {
        histogram_add(&answers, now_ns() - c->asked_ns);
        tally_count(&recovered, find(frame, "\"recovered\":true") ? "true" : "other");
    }
    take_positions(c, frame);
}

static bool is_type(const struct frame *frame, const char *type) {
    size_t length = strlen(type);
    return frame->length > length + 10 && memcmp(frame->payload + 9, type, length) == 0 &&
           frame->payload[9 + length] == '"';
}

static void take_text(struct client *c, const struct frame *frame) {
    if (is_type(frame, "u")) {
        take_event(c, frame);
    } else if (is_type(frame, "connected") && c->stage == GREETING) {
        if (c->resumes) {
            histogram_add(&greetings, now_ns() - c->began_ns);
            tally_count(&recovered, find(frame, "\"recovered\":true") ? "true" : "other");
        }
        const char *id = find(frame, "\"clientId\":\"");
        if (id) copy(c->id, sizeof c->id, id, frame);
        /* What this connection has not answered yet resumes from the positions of the one before. */
        if (!c->resumes) take_positions(c, frame);
        subscribe(c);
    } else if (is_type(frame, "subscribed")) {
        take_subscribed(c, frame);
    } else {
        const char *end = memchr(frame->payload + 9, '"', frame->length > 9 ? frame->length - 9 : 0);
        tally_add(&others, (const char *)frame->payload + 9, end ? (size_t)(end - (const char *)frame->payload) - 9 : 0);
    }
}

static void take_control(struct client *c, const struct frame *frame) {
    uint8_t answer[160];
    if (frame->opcode == PING && frame->length < 126) {
        transmit(c, answer, frame_put(answer, PONG, frame->payload, frame->length));
    } else if (frame->opcode == CLOSE) {
        char code[16] = "1005";
        if (frame->length >= 2) snprintf(code, sizeof code, "%u", frame->payload[0] * 256u + frame->payload[1]);
        lose_to_storm(c, code);
    }
}

static size_t take_all(struct client *c, const uint8_t *data, size_t available) {
    size_t at = c->stage == UPGRADING ? take_upgrade(c, data, available) : 0;
    struct frame frame;
    while (c->stage > UPGRADING && frame_take(&frame, data + at, available - at)) {
        at += frame.size;
        if (frame.opcode >= CLOSE)
            take_control(c, &frame);
        else
            take_text(c, &frame);
    }
    return at;
}

static void receive(struct client *c) {
    size_t length = c->rest_bytes;
    if (length) memcpy(inbox, c->rest, length);
    ssize_t got = recv(c->fd, inbox + length, INBOX_BYTES - length, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        lose_to_storm(c, got == 0 ? "eof" : "reset");
        return;
    }
    length += (size_t)got;
    size_t taken = take_all(c, inbox, length);
    if (c->stage < UPGRADING) return;
    if (length - taken > c->rest_bytes && !(c->rest = realloc(c->rest, length - taken))) die("realloc");
    if (length - taken) memcpy(c->rest, inbox + taken, length - taken);
    c->rest_bytes = (uint32_t)(length - taken);
}

static void on_ready(struct client *c, uint32_t ready) {
    if (c->stage == WAITING) return; /* lost earlier in this round */
    if (c->stage != CONNECTING)
        receive(c);
    else if (ready & (EPOLLERR | EPOLLHUP))
        lose(c, "connect", REFUSED_WAIT_MS * NS_PER_MS + within(REFUSED_WAIT_MS));
    else
        request_upgrade(c);
}

static void print_report(void) {
    uint64_t least = UINT64_MAX, most = 0, first_cut = UINT64_MAX;
    unsigned never = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct client *c = &clients[i];
        if (c->last < least) least = c->last;
        if (c->last > most) most = c->last;
        if (c->cut_ns && c->cut_ns < first_cut) first_cut = c->cut_ns;
        never += c->lives < 2;
    }
    printf("{\"level\":%u,\"back\":%u,\"not_back\":%u,\"least\":%llu,\"most\":%llu", level, back, never,
           (unsigned long long)least, (unsigned long long)most);
    printf(",\"events\":%llu,\"replayed\":%llu,\"twice\":%llu,\"holes\":%llu,\"late\":%llu,\"seconds\":%.3f",
           (unsigned long long)events, (unsigned long long)replayed, (unsigned long long)twice,
           (unsigned long long)holes, (unsigned long long)late,
           back ? (double)(last_back_ns - first_cut) / 1e9 : 0);
    fputs(",\"greeting\":", stdout), histogram_print(&greetings, stdout);
    fputs(",\"answer\":", stdout), histogram_print(&answers, stdout);
    fputs(",\"to_level\":", stdout), histogram_print(&levels, stdout);
    fputs(",\"outage\":", stdout), histogram_print(&outages, stdout);
    fputs(",\"recovered\":", stdout), tally_print(&recovered, stdout);
    fputs(",\"cuts\":", stdout), tally_print(&cuts, stdout);
    fputs(",\"refused\":", stdout), tally_print(&refused, stdout);
    fputs(",\"others\":", stdout), tally_print(&others, stdout);
    puts("}");
    fflush(stdout);
}

static void on_line(const char *line) {
    if (sscanf(line, "storm %u", &port) == 1) {
        memset(&cuts, 0, sizeof cuts);
        memset(&refused, 0, sizeof refused);

        puts("{\"storm\":true}");
        fflush(stdout);
    } else if (strcmp(line, "report") == 0) {
        print_report();
    } else {
        exit(strcmp(line, "quit") == 0 ? 0 : 2);
    }
}

static void on_input(void) {
    static char line[64];
    static size_t length;
    char bytes[256];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got <= 0) exit(0);
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n' || length == sizeof line - 1) {
            line[length] = 0;
            length = 0;
            on_line(line);
        } else {
            line[length++] = bytes[i];
        }
    }
}

/* Starts what is due: the first connections a few at a time, those that come back when they want. */
static void start_due(void) {
    uint64_t now = now_ns();
    for (unsigned i = 0; i < count; i++) {
        struct client *c = &clients[i];
        if (c->stage == WAITING && c->due_ns <= now && (c->resumes || opening < IN_FLIGHT)) start(c);
    }
}

static void run(void) {
    struct epoll_event ready[READY_EVENTS];
    bool is_told = false;
    uint64_t next_ns = 0;
    for (;;) {
        if (level < count && now_ns() >= next_ns) {
            start_due();
            next_ns = now_ns() + TICK_MS * NS_PER_MS;
        }
        if (!is_told && level == count) {
            is_told = true;
            printf("{\"ready\":%u}\n", level);
            fflush(stdout);
        }
        int found = epoll_wait(poller, ready, READY_EVENTS, level < count ? TICK_MS : -1);
        if (found < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < found; i++) {
            if (ready[i].data.u32 == standard_input)
                on_input();
            else
                on_ready(&clients[ready[i].data.u32], ready[i].events);
        }
    }
}

int main(int arguments, char **argument) {
    if (arguments != 6) {
        fprintf(stderr, "storm: PORT CONNECTIONS GROUPS WINDOW_MS TOKENS\n");
        return 2;
    }
    port = (unsigned)atoi(argument[1]);
    count = (unsigned)atoi(argument[2]);
    groups = (unsigned)atoi(argument[3]);
    window_ms = (unsigned)atoi(argument[4]);
    read_tokens(argument[5]);
    clients = calloc(count, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = standard_input};
    if (!clients || poller < 0 || !groups || !token_count) die("no room, no groups or no tokens");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) die("standard input is a pipe");
    run();
}
