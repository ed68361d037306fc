/* Sends the same bytes on many sockets: the loop of the fan-out (ADR 0009).

   Compiled when the package is built, where there is a compiler; without it outlet.py does the same. */

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Sends the size bytes of data on numbers[start] to numbers[stop - 1], none of which may block. Notes of each
   that did not take all of them its place and how many it took, and returns how many those are. */
ptrdiff_t fanwire_send_to_all(
    const int *numbers, ptrdiff_t start, ptrdiff_t stop, const char *data, size_t size, ptrdiff_t *rest)
{
    ptrdiff_t found = 0;
    for (ptrdiff_t place = start; place < stop; place++) {
        ssize_t taken = send(numbers[place], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken != (ssize_t)size) {
            rest[2 * found] = place;
            rest[2 * found + 1] = taken < 0 ? 0 : taken;
            found++;
        }
    }
    return found;
}
