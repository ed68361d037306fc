/* The protocols that the load generator speaks above WebSocket, each as far as it needs. Include it after
 * options.h.
 *
 *     fanwire   token in Sec-WebSocket-Protocol, commands and frames in JSON
 *     plain     the same, but the token in Authorization; without --subscribe whatever opens is open
 *     engineio  Socket.IO 5 over Engine.IO 4: its own connect, ping and acknowledgement packets
 *     nats      the NATS protocol; several messages may stand in one frame
 */
#ifndef FANWIRE_BENCH_DIALECTS_H
#define FANWIRE_BENCH_DIALECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum meaning { NOTHING, GREETED, SUBSCRIBED, REFUSED, HEARTBEAT };

struct answer { const char *begins; enum meaning meaning; const char *reply; };

struct dialect {
    const char *name;
    const char *credential; /* the header, with a %s for the token */
    bool greeting;          /* whether the server speaks first, and is waited for */
    struct answer answers[6];
};

static const struct dialect dialects[] = {
    {"fanwire", "Sec-WebSocket-Protocol: fanwire.v1.json, bearer, %s\r\n", false,
     {{"{\"type\":\"subscribed\"", SUBSCRIBED, NULL}, {"{\"type\":\"error\"", REFUSED, NULL}}},
    {"plain", "Authorization: Bearer %s\r\n", false,
     {{"{\"type\":\"subscribed\"", SUBSCRIBED, NULL}, {"{\"type\":\"error\"", REFUSED, NULL}}},
    {"engineio", "Authorization: Bearer %s\r\n", true,
     {{"0{", NOTHING, "40"}, {"40", GREETED, NULL}, {"43", SUBSCRIBED, NULL}, {"44", REFUSED, NULL},
      {"2", HEARTBEAT, "3"}}},
    {"nats", "Authorization: Bearer %s\r\n", true,
     {{"INFO ", GREETED, NULL}, {"PONG\r\n", SUBSCRIBED, NULL}, {"-ERR", REFUSED, NULL},
      {"PING\r\n", HEARTBEAT, "PONG\r\n"}}},
};
static const struct dialect *dialect = dialects;
static bool joins_messages;

static void choose_dialect(void) {
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        if (strcmp(dialects[i].name, options.dialect) != 0) continue;
        dialect = &dialects[i];
        joins_messages = strcmp(dialect->name, "nats") == 0;
        return;
    }
    fprintf(stderr, "load: no such --dialect: %s\n", options.dialect);
    exit(2);
}

static void put_credential(char *out, size_t room, const char *token) {
    int length = 0;
    *out = 0;
    if (token)
        length = snprintf(out, room, dialect->credential, token);
    else if (dialect == dialects)
        length = snprintf(out, room, "Sec-WebSocket-Protocol: fanwire.v1.json\r\n");
    if (length >= (int)room) die("a token is too long");
}

/* Writes the text with every %d replaced by the number, and returns its length. */
static size_t put_numbered(char *out, size_t room, const char *text, unsigned number) {
    size_t length = 0;
    for (; *text; text++) {
        if (length + 12 > room) die("a --path, --subscribe or --channel is too long");
        if (text[0] == '%' && text[1] == 'd') {
            length += (size_t)sprintf(out + length, "%u", number);
            text++;
        } else {
            out[length++] = *text;
        }
    }
    out[length] = 0;
    return length;
}

static bool begins_with(const uint8_t *text, size_t length, const char *beginning) {
    size_t size = strlen(beginning);
    return length >= size && memcmp(text, beginning, size) == 0;
}

static bool is_event(const uint8_t *text, size_t length) {
    return length > event_prefix_bytes && memcmp(text, options.event_prefix, event_prefix_bytes) == 0;
}

/* Returns the size of the first message of a frame; `body` is where the payload of an event begins. */
static size_t message_take(const uint8_t *text, size_t length, size_t *body) {
    *body = 0;
    if (!joins_messages) return length;
    const uint8_t *end = memmem(text, length, "\r\n", 2);
    if (!end) return length;
    size_t head = (size_t)(end - text) + 2;
    if (!is_event(text, length)) return head;
    const uint8_t *digits = end;
    while (digits > text && digits[-1] != ' ') digits--;
    size_t size = head + strtoul((const char *)digits, NULL, 10) + 2;
    *body = head;
    return size < length ? size : length;
}

/* Says what a message means; `reply` is what has to be said to it. */
static enum meaning meaning_of(const uint8_t *text, size_t length, const char **reply) {
    for (const struct answer *answer = dialect->answers; answer->begins; answer++) {
        if (!begins_with(text, length, answer->begins)) continue;
        *reply = answer->reply;
        return answer->meaning;
    }
    return NOTHING;
}

/* Returns what a message is counted under: the type of a frame in JSON, else its first letters. */
static const char *name_of(const uint8_t *text, size_t length, size_t *name_bytes) {
    static const char head[] = "{\"type\":\"";
    const char *name = (const char *)text;
    if (!begins_with(text, length, head)) {
        *name_bytes = dialect->greeting && length > 4 ? 4 : length < 8 ? length : 8;
        return name;
    }
    name += sizeof head - 1;
    const char *end = memchr(name, '"', length - (sizeof head - 1));
    *name_bytes = end ? (size_t)(end - name) : 0;
    return name;
}

#endif
