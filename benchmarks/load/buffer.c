/* Bytes that grow, and the clock. */

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *must(void *allocated)
{
    if (allocated == NULL) {
        fputs("load: out of memory\n", stderr);
        exit(1);
    }
    return allocated;
}

void buffer_add(struct buffer *buffer, const void *data, size_t length)
{
    if (buffer->length + length > buffer->room) {
        size_t room = buffer->room ? buffer->room : 256;
        while (room < buffer->length + length)
            room *= 2;
        buffer->data = must(realloc(buffer->data, room));
        buffer->room = room;
    }
    if (length)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

void buffer_cut(struct buffer *buffer, size_t from_the_start)
{
    buffer->length -= from_the_start;
    if (buffer->length)
        memmove(buffer->data, buffer->data + from_the_start, buffer->length);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

static int nibble(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

bool buffer_from_hex(struct buffer *buffer, const char *hex)
{
    buffer->length = 0;
    if (strcmp(hex, "-") == 0)
        return true;
    for (; *hex; hex += 2) {
        int high = nibble(hex[0]);
        int low = high < 0 ? -1 : nibble(hex[1]);
        if (low < 0)
            return false;
        unsigned char byte = (unsigned char)(high << 4 | low);
        buffer_add(buffer, &byte, 1);
    }
    return true;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
