/*
 * The floor: what the kernel alone costs. Upgrades every connection with a constant answer (the load
 * generator does not check the accept key) and sends each event to each with a bare send().
 *
 * Prints {"listening": port}, then does what the lines on its standard input say:
 *     send EVENTS RATE BATCH BYTES [CHANNELS]
 *                                    EVENTS events in groups of BATCH, RATE groups per second on a fixed
 *                                    schedule, each a frame of BYTES on the wire; prints its own CPU time.
 *                                    Connections are spread over CHANNELS, and so are the events
 *     quit                           end; so does the end of the input
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "histogram.h"

enum { MAX_FILES = 65536, BACKLOG = 4096, MAX_FRAME = 4096, MAX_BATCH = 64 };
enum stage { ABSENT, REQUEST, SUBSCRIBE, OPEN };

static uint8_t stages[MAX_FILES];     /* by file descriptor */
static uint8_t end_matched[MAX_FILES]; /* bytes of the empty line that ends the request */
static int open_files[MAX_FILES];
static unsigned open_count;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int poller, int fd, int data) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = data};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static int listen_on_free_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("{\"listening\":%u}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void take_connection(int poller, int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    if (fd >= MAX_FILES) die("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    stages[fd] = REQUEST;
    end_matched[fd] = 0;
    watch(poller, fd, fd);
}

static void lose_connection(int fd) {
    close(fd);
    for (unsigned i = 0; stages[fd] == OPEN && i < open_count; i++)
        if (open_files[i] == fd) open_files[i] = open_files[--open_count];
    stages[fd] = ABSENT;
}

static bool ends_request(int fd, const char *data, ssize_t length) {
    static const char end[] = "\r\n\r\n";
    for (ssize_t i = 0; i < length && end_matched[fd] < 4; i++)
        end_matched[fd] = data[i] == end[end_matched[fd]] ? end_matched[fd] + 1 : data[i] == '\r';
    return end_matched[fd] == 4;
}

static void answer(int fd) {
    static const char upgrade[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    static const char subscribed[] = "\x81\x15{\"type\":\"subscribed\"}";
    char data[16384];
    ssize_t length = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        lose_connection(fd);
    } else if (stages[fd] == REQUEST && ends_request(fd, data, length)) {
        stages[fd] = SUBSCRIBE;
        send(fd, upgrade, sizeof upgrade - 1, MSG_NOSIGNAL);
    } else if (stages[fd] == SUBSCRIBE) {
        stages[fd] = OPEN;
        open_files[open_count++] = fd;
        send(fd, subscribed, sizeof subscribed - 1, MSG_NOSIGNAL);
    }
}

/* Builds an event frame of `bytes` on the wire; the event id takes up what the rest leaves. */
static void put_event(char *out, size_t bytes, uint64_t sent_ns, unsigned number) {
    char body[MAX_FRAME], time[32];
    size_t header = bytes - 2 < 126 ? 2 : 4;
    int time_length = snprintf(time, sizeof time, "%llu", (unsigned long long)sent_ns);
    static const char shape[] = "{\"type\":\"u\",\"eventId\":\"%0*u\",\"encoding\":\"json\",\"payload\":{\"t\":%s}}";
    int padding = (int)(bytes - header) - (int)(sizeof shape - 1 - strlen("%0*u%s")) - time_length;
    int length = snprintf(body, sizeof body, shape, padding, number, time);
    if (padding < 1 || (size_t)length != bytes - header) die("BYTES are too few");
    out[0] = (char)0x81;
    out[1] = (char)(header == 2 ? length : 126);
    if (header == 4) out[2] = (char)(length >> 8), out[3] = (char)length;
    memcpy(out + header, body, (size_t)length);
}

static void sleep_until(uint64_t due_ns) {
    struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {}
}

static uint64_t deliveries, short_sends;

static void deliver(unsigned connection, const char *frames, size_t length, unsigned joined) {
    short_sends += send(open_files[connection], frames, length, MSG_NOSIGNAL) != (ssize_t)length;
    deliveries += joined;
}

static void send_events(unsigned total, unsigned rate, unsigned batch, unsigned bytes, unsigned channels) {
    static char frames[MAX_BATCH * MAX_FRAME];
    uint64_t begin_ns = now_ns(), cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    deliveries = short_sends = 0;
    for (unsigned sent = 0; sent < total; sent += batch) {
        uint64_t due_ns = begin_ns + (uint64_t)(sent / batch) * 1000000000u / rate;
        unsigned joined = total - sent < batch ? total - sent : batch;
        sleep_until(due_ns);
        for (unsigned i = 0; i < joined; i++) put_event(frames + (size_t)i * bytes, bytes, due_ns, sent + i);
        if (channels < 2) {
            for (unsigned i = 0; i < open_count; i++) deliver(i, frames, (size_t)joined * bytes, joined);
        } else {
            for (unsigned event = 0; event < joined; event++)
                for (unsigned i = (sent + event) % channels; i < open_count; i += channels)
                    deliver(i, frames + (size_t)event * bytes, bytes, 1);
        }
    }
    cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    printf("{\"deliveries\":%llu,\"short_sends\":%llu,\"cpu_ns\":%llu,\"seconds\":%.6f}\n",
           (unsigned long long)deliveries, (unsigned long long)short_sends, (unsigned long long)cpu_ns,
           (double)(now_ns() - begin_ns) / 1e9);
    fflush(stdout);
}

static void obey(void) {
    char line[128];
    unsigned total, rate, batch, bytes, channels = 1;
    if (!fgets(line, sizeof line, stdin) || strcmp(line, "quit\n") == 0) exit(0);
    if (sscanf(line, "send %u %u %u %u %u", &total, &rate, &batch, &bytes, &channels) < 4 || !rate || !batch ||
        batch > MAX_BATCH || bytes > MAX_FRAME) {
        fprintf(stderr, "floor: no such command: %s", line);
        exit(2);
    }
    send_events(total, rate, batch, bytes, channels);
}

int main(void) {
    struct epoll_event ready[256];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    setvbuf(stdin, NULL, _IONBF, 0); /* what is buffered would not wake epoll */
    int listener = listen_on_free_port();
    watch(poller, listener, listener);
    watch(poller, STDIN_FILENO, STDIN_FILENO);
    for (;;) {
        int count = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener)
                take_connection(poller, listener);
            else if (ready[i].data.fd == STDIN_FILENO)
                obey();
            else
                answer(ready[i].data.fd);
        }
    }
}
