/*
 * Load generator: many WebSocket clients in one thread, cheap enough that the server is what is measured.
 *
 * Opens every connection, subscribes each, prints {"ready": …}, and then does what the lines on its standard
 * input say, answering each with one line of JSON:
 *     go      set all counts to zero
 *     report  print what arrived since the last `go`
 *     quit    end; so does the end of the input
 * An event frame is one whose payload begins with --event-prefix; of those nothing is decoded but, on a
 * sample of the connections, the time "t" (CLOCK_MONOTONIC, ns) at which its publisher meant to send it.
 * --dialect chooses whose protocol is spoken (dialects.h). In --path and --subscribe a %d is the connection's
 * number, with --groups N that number modulo N. With --channel and --own N each connection subscribes to N
 * channels: its number, and that plus as many times all connections as it takes.
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
#include "options.h"
#include "dialects.h"
#include "tally.h"
#include "websocket.h"

enum { INBOX_BYTES = 1 << 20, REQUEST_BYTES = 16384, COMMAND_BYTES = 4096, STALLED_RCVBUF = 4096 };
enum { READY_EVENTS = 1024, CHANNELS_PER_COMMAND = 100 };
enum stage { CONNECTING, UPGRADING, GREETING, SUBSCRIBING, OPEN, CLOSED };

struct connection {
    int fd;
    uint8_t stage;
    bool sampled, stalled;
    uint32_t events;   /* since `go` */
    uint32_t asked;    /* channels of its own that were asked for */
    uint64_t began_ns; /* of the stage that is timed */
    uint8_t *rest;     /* the beginning of a frame whose end has not arrived */
    uint32_t rest_bytes;
};

static const uint32_t standard_input = UINT32_MAX; /* where an event names no connection */
static struct connection *connections;
static int poller;
static uint8_t inbox[INBOX_BYTES];
static unsigned started, in_flight, open_count, failed, upgraded, stalled_cut;
static uint64_t first_connect_ns, last_upgrade_ns, go_ns, go_cpu_ns, events, event_bytes;
static struct histogram handshakes, subscribes, latencies;
static struct tally closes, others, refused, errors;

/* Tells whether connection i is one of `share` that are spread evenly over all. */
static bool is_chosen(unsigned i, unsigned share) {
    uint64_t all = options.connections;
    return (uint64_t)(i + 1) * share / all > (uint64_t)i * share / all;
}

static unsigned number_of(const struct connection *c) {
    unsigned index = (unsigned)(c - connections);
    return options.groups ? index % options.groups : index;
}

static void watch(struct connection *c, int operation, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.u32 = (uint32_t)(c - connections)};
    if (epoll_ctl(poller, operation, c->fd, &event) != 0) die("epoll_ctl");
}

static void shut(struct connection *c, struct tally *reasons, const char *reason) {
    if (c->stage == OPEN) {
        open_count--;
        stalled_cut += c->stalled;
    } else {
        failed++;
        in_flight--;
    }
    tally_count(reasons, reason);
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_bytes = 0;
    c->stage = CLOSED;
}

static void transmit(struct connection *c, const void *data, size_t length) {
    if (send(c->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) shut(c, &errors, "send");
}

static void start_connection(struct connection *c) {
    unsigned index = (unsigned)(c - connections);
    int on = 1, small = STALLED_RCVBUF;
    *c = (struct connection){.stage = CONNECTING, .began_ns = now_ns()};
    c->stalled = is_chosen(index, options.stalled);
    c->sampled = !c->stalled && is_chosen(index, options.sample);
    in_flight++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket (raise the limit of open files)");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c->stalled) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (options.sources > 1) {
        struct sockaddr_in own = {.sin_family = AF_INET};
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % options.sources);
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->fd, (struct sockaddr *)&own, sizeof own) != 0) die("bind");
    }
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    if (inet_pton(AF_INET, options.host, &peer.sin_addr) != 1) die("--host is an IPv4 address");
    if (connect(c->fd, (struct sockaddr *)&peer, sizeof peer) != 0 && errno != EINPROGRESS)
        shut(c, &errors, "connect");
    else
        watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void request_upgrade(struct connection *c) {
    static char request[REQUEST_BYTES];
    char path[COMMAND_BYTES], credential[REQUEST_BYTES / 2];
    put_numbered(path, sizeof path, options.path, number_of(c));
    put_credential(credential, sizeof credential, token_count ? tokens[(size_t)(c - connections) % token_count] : NULL);
    int length = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZmFud2lyZS1iZW5jaG1hcg==\r\n%s\r\n",
        path, options.host, options.port, credential);
    if (length >= (int)sizeof request) die("a token is too long");
    c->stage = UPGRADING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    transmit(c, request, (size_t)length);
}

static void opened(struct connection *c) {
    c->stage = OPEN;
    open_count++;
    in_flight--;
    if (c->stalled) watch(c, EPOLL_CTL_MOD, 0); /* errors are reported all the same */
}

static void say(struct connection *c, const char *command, size_t length) {
    static uint8_t frame[COMMAND_BYTES + 16];
    transmit(c, frame, frame_put(frame, TEXT, command, length));
}

/* Asks for the next channels of the connection's own. */
static void subscribe_own(struct connection *c) {
    char command[COMMAND_BYTES], channel[256];
    size_t length = (size_t)sprintf(command, "{\"type\":\"subscribe\",\"channels\":[");
    uint32_t until = c->asked + CHANNELS_PER_COMMAND < options.own ? c->asked + CHANNELS_PER_COMMAND : options.own;
    for (const char *comma = ""; c->asked < until; c->asked++, comma = ",") {
        put_numbered(channel, sizeof channel, options.channel, number_of(c) + c->asked * options.connections);
        length += (size_t)snprintf(command + length, sizeof command - length, "%s\"%s\"", comma, channel);
        if (length > sizeof command - 3) die("--channel is too long");
    }
    length += (size_t)sprintf(command + length, "]}");
    say(c, command, length);
}

static void subscribe(struct connection *c) {
    char command[COMMAND_BYTES];
    c->stage = SUBSCRIBING;
    c->began_ns = now_ns();
    if (options.own)
        subscribe_own(c);
    else
        say(c, command, put_numbered(command, sizeof command, options.subscribe, number_of(c)));
}

/* Goes on once the server has greeted the connection. */
static void greeted(struct connection *c) {
    if (options.subscribe || options.own)
        subscribe(c);
    else
        opened(c);
}

static void subscribed(struct connection *c) {
    if (c->asked < options.own) {
        subscribe_own(c);
        return;
    }
    histogram_add(&subscribes, now_ns() - c->began_ns);
    opened(c);
}

/* Returns the bytes of the answer to the upgrade, 0 where it is not complete. */
static size_t take_upgrade(struct connection *c, const uint8_t *data, size_t available) {
    const uint8_t *end = memmem(data, available, "\r\n\r\n", 4);
    if (!end) return 0;
    if (available < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        tally_add(&refused, (const char *)data + 9, 3);
        shut(c, &errors, "refused");
        return available;
    }
    last_upgrade_ns = now_ns();
    histogram_add(&handshakes, last_upgrade_ns - c->began_ns);
    upgraded++;
    if (dialect->greeting)
        c->stage = GREETING;
    else
        greeted(c);
    return (size_t)(end - data) + 4;
}

static void take_event(struct connection *c, const uint8_t *payload, size_t length, uint64_t arrival_ns) {
    c->events++;
    events++;
    if (!c->sampled) return;
    const uint8_t *time = memmem(payload, length, "\"t\":", 4);
    if (!time) return;
    uint64_t sent_ns = 0;
    const uint8_t *end = payload + length;
    for (time += 4; time < end && *time >= '0' && *time <= '9'; time++) sent_ns = sent_ns * 10 + (*time - '0');
    histogram_add(&latencies, arrival_ns > sent_ns ? arrival_ns - sent_ns : 0);
}

static void take_other(struct connection *c, const uint8_t *text, size_t length) {
    const char *reply = NULL;
    size_t name_bytes;
    const char *name = name_of(text, length, &name_bytes);
    enum meaning meaning = meaning_of(text, length, &reply);
    if (meaning != HEARTBEAT) tally_add(&others, name, name_bytes);
    if (reply) say(c, reply, strlen(reply));
    if (c->stage == GREETING && meaning == GREETED)
        greeted(c);
    else if (c->stage == SUBSCRIBING && meaning == SUBSCRIBED)
        subscribed(c);
    else if (c->stage == SUBSCRIBING && meaning == REFUSED)
        shut(c, &errors, "subscribe");
}

/* Handles one message: a text, or of those that are joined in one frame each. */
static void take_message(struct connection *c, const struct frame *frame, uint64_t arrival_ns) {
    const uint8_t *text = frame->payload;
    size_t left = frame->length, size, body;
    event_bytes += is_event(text, left) ? frame->size : 0;
    while (c->stage != CLOSED && left) {
        size = message_take(text, left, &body);
        if (is_event(text, left))
            take_event(c, text + body, size - body, arrival_ns);
        else
            take_other(c, text, size);
        text += size;
        left -= size;
    }
}

static void take_control(struct connection *c, const struct frame *frame) {
    uint8_t answer[160];
    if (frame->opcode == PING && frame->length < 126) {
        transmit(c, answer, frame_put(answer, PONG, frame->payload, frame->length));
    } else if (frame->opcode == CLOSE) {
        char code[16] = "1005";
        size_t length = frame->length < 2 ? 0 : 2;
        if (length) snprintf(code, sizeof code, "%u", (unsigned)frame->payload[0] << 8 | frame->payload[1]);
        size_t size = frame_put(answer, CLOSE, frame->payload, length);
        send(c->fd, answer, size, MSG_NOSIGNAL); /* a courtesy: the peer may be gone */
        shut(c, &closes, code);
    }
}

/* Handles every whole message in data and returns how many bytes they had. */
static size_t take_all(struct connection *c, const uint8_t *data, size_t available, uint64_t arrival_ns) {
    size_t at = 0;
    struct frame frame;
    if (c->stage == UPGRADING) at = take_upgrade(c, data, available);
    if (c->stage == UPGRADING) return 0;
    while (c->stage != CLOSED && frame_take(&frame, data + at, available - at)) {
        at += frame.size;
        if (frame.opcode >= CLOSE)
            take_control(c, &frame);
        else
            take_message(c, &frame, arrival_ns);
    }
    return at;
}

static void keep_rest(struct connection *c, const uint8_t *data, size_t length) {
    if (length > c->rest_bytes && !(c->rest = realloc(c->rest, length))) die("realloc");
    if (length) memcpy(c->rest, data, length);
    c->rest_bytes = (uint32_t)length;
}

static void receive(struct connection *c) {
    size_t length = c->rest_bytes;
    if (length) memcpy(inbox, c->rest, length);
    ssize_t count = recv(c->fd, inbox + length, INBOX_BYTES - length, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        shut(c, &closes, count == 0 ? "eof" : "reset");
        return;
    }
    length += (size_t)count;
    size_t taken = take_all(c, inbox, length, now_ns());
    if (c->stage == CLOSED) return;
    if (length - taken == INBOX_BYTES)
        shut(c, &errors, "oversized");
    else if (length != taken || c->rest_bytes)
        keep_rest(c, inbox + taken, length - taken);
}

static void on_ready(struct connection *c, uint32_t ready) {
    if (c->stage == CLOSED) return; /* closed earlier in this round */
    if (c->stage == CONNECTING) {
        if (ready & (EPOLLERR | EPOLLHUP))
            shut(c, &errors, "connect");
        else
            request_upgrade(c);
    } else if (c->stalled && c->stage == OPEN) {
        shut(c, &closes, "stalled");
    } else {
        receive(c);
    }
}

static void go(void) {
    for (unsigned i = 0; i < options.connections; i++) connections[i].events = 0;
    events = event_bytes = 0;
    memset(&latencies, 0, sizeof latencies);
    memset(&closes, 0, sizeof closes);
    memset(&others, 0, sizeof others);
    go_ns = now_ns();
    go_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_tallies(void) {
    fputs(",\"closes\":", stdout), tally_print(&closes, stdout);
    fputs(",\"others\":", stdout), tally_print(&others, stdout);
    fputs(",\"refused\":", stdout), tally_print(&refused, stdout);
    fputs(",\"errors\":", stdout), tally_print(&errors, stdout);
    puts("}");
    fflush(stdout);
}

static void print_ready(void) {
    double seconds = (double)(last_upgrade_ns - first_connect_ns) / 1e9;
    printf("{\"ready\":%u,\"failed\":%u,\"handshakes\":%u,\"handshake_seconds\":%.6f,\"ready_seconds\":%.6f",
           open_count, failed, upgraded, upgraded ? seconds : 0, (double)(now_ns() - first_connect_ns) / 1e9);
    fputs(",\"handshake\":", stdout), histogram_print(&handshakes, stdout);
    fputs(",\"subscribe\":", stdout), histogram_print(&subscribes, stdout);
    print_tallies();
}

/* `least` and `most` are events per connection among those that are open and read. */
static void print_report(void) {
    uint32_t least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < options.connections; i++) {
        const struct connection *c = &connections[i];
        if (c->stalled || c->stage != OPEN) continue;
        if (c->events < least) least = c->events;
        if (c->events > most) most = c->events;
    }
    printf("{\"open\":%u,\"stalled_cut\":%u,\"events\":%llu,\"bytes\":%llu,\"least\":%u,\"most\":%u", open_count,
           stalled_cut, (unsigned long long)events, (unsigned long long)event_bytes, most ? least : 0, most);
    printf(",\"seconds\":%.6f,\"cpu_seconds\":%.6f", (double)(now_ns() - go_ns) / 1e9,
           (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - go_cpu_ns) / 1e9);
    fputs(",\"latency\":", stdout), histogram_print(&latencies, stdout);
    print_tallies();
}

static void on_line(const char *line) {
    if (strcmp(line, "go") == 0) {
        go();
        puts("{\"go\":true}");
        fflush(stdout);
    } else if (strcmp(line, "report") == 0) {
        print_report();
    } else if (strcmp(line, "quit") == 0) {
        exit(0);
    } else {
        fprintf(stderr, "load: no such command: %s\n", line);
        exit(2);
    }
}

static void on_input(void) {
    static char line[64];
    static size_t length;
    char bytes[256];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0) exit(0);
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] == '\n' || length == sizeof line - 1) {
            line[length] = 0;
            length = 0;
            on_line(line);
        } else {
            line[length++] = bytes[i];
        }
    }
}

/* Gives up on every connection that is not open by now. */
static void abandon_opening(void) {
    for (unsigned i = 0; i < started; i++)
        if (connections[i].stage < OPEN) shut(&connections[i], &errors, "timeout");
    failed += options.connections - started;
    started = options.connections;
}

static void run(void) {
    struct epoll_event ready[READY_EVENTS];
    bool opening = true;
    first_connect_ns = now_ns();
    uint64_t deadline_ns = first_connect_ns + (uint64_t)options.deadline_seconds * 1000000000u;
    for (;;) {
        while (started < options.connections && in_flight < options.in_flight)
            start_connection(&connections[started++]);
        if (opening && now_ns() > deadline_ns) abandon_opening();
        if (opening && started == options.connections && in_flight == 0) {
            opening = false;
            print_ready();
            go();
        }
        int count = epoll_wait(poller, ready, READY_EVENTS, opening ? 100 : -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == standard_input)
                on_input();
            else
                on_ready(&connections[ready[i].data.u32], ready[i].events);
        }
    }
}

int main(int count, char **arguments) {
    read_options(count, arguments);
    choose_dialect();
    if (options.tokens) read_tokens();
    connections = calloc(options.connections, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) die("no room for the connections");
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = standard_input};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) die("standard input is a pipe");
    run();
}
