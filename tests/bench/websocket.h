/* As much of RFC 6455 as a load generator needs: frame headers in, small masked frames out. */
#ifndef FANWIRE_BENCH_WEBSOCKET_H
#define FANWIRE_BENCH_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
    unsigned opcode;
    const uint8_t *payload;
    size_t length; /* of the payload */
    size_t size;   /* on the wire, header included */
};

/* Takes one whole frame from the front of data; false where it has not all arrived. */
static inline bool frame_take(struct frame *frame, const uint8_t *data, size_t available) {
    if (available < 2) return false;
    size_t header = 2, length = data[1] & 127;
    if (length == 126) {
        if (available < 4) return false;
        header = 4;
        length = (size_t)data[2] << 8 | data[3];
    } else if (length == 127) {
        if (available < 10) return false;
        header = 10;
        length = 0;
        for (int i = 2; i < 10; i++) length = length << 8 | data[i];
    }
    if (available - header < length || available < header) return false;
    *frame = (struct frame){data[0] & 15, data + header, length, header + length};
    return true;
}

/* Writes a masked client frame and returns its size; the payload has at most 65,535 bytes. */
static inline size_t frame_put(uint8_t *out, unsigned opcode, const void *payload, size_t length) {
    static const uint8_t mask[4] = {0x5a, 0xc3, 0x17, 0x88};
    const uint8_t *bytes = payload;
    size_t at = 0;
    out[at++] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        out[at++] = (uint8_t)(0x80 | length);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(length >> 8);
        out[at++] = (uint8_t)length;
    }
    memcpy(out + at, mask, sizeof mask);
    at += sizeof mask;
    for (size_t i = 0; i < length; i++) out[at++] = bytes[i] ^ mask[i & 3];
    return at;
}

#endif
