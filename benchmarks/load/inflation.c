/* permessage-deflate (RFC 7692), the receiving half. */

#include "load.h"

#include <stdlib.h>

#ifdef HAVE_ZLIB

#include <zlib.h>

static struct buffer out;
static z_stream *shared;

static z_stream *stream(void)
{
    z_stream *made = must(calloc(1, sizeof *made));
    if (inflateInit2(made, -15) != Z_OK)
        must(NULL);
    return made;
}

static bool run(z_stream *zlib, const char *data, size_t length)
{
    zlib->next_in = (Bytef *)data;
    zlib->avail_in = (uInt)length;
    while (zlib->avail_in) {
        char chunk[65536];
        zlib->next_out = (Bytef *)chunk;
        zlib->avail_out = sizeof chunk;
        int outcome = inflate(zlib, Z_SYNC_FLUSH);
        if (outcome != Z_OK && outcome != Z_STREAM_END && outcome != Z_BUF_ERROR)
            return false;
        buffer_add(&out, chunk, sizeof chunk - zlib->avail_out);
        if (outcome == Z_STREAM_END) {
            /* A sender without context may end its stream with each message. */
            inflateReset(zlib);
            return true;
        }
        if (outcome == Z_BUF_ERROR && zlib->avail_out == sizeof chunk)
            return zlib->avail_in == 0;
    }
    return true;
}

bool inflation_possible(void)
{
    return true;
}

const char *inflate_message(struct client *client, const char *data, size_t length,
                            size_t *inflated)
{
    z_stream *zlib;
    if (client->compression == WITH_CONTEXT) {
        if (client->inflater == NULL)
            client->inflater = stream();
        zlib = client->inflater;
    } else {
        if (shared == NULL)
            shared = stream();
        zlib = shared;
        inflateReset(zlib);
    }
    out.length = 0;
    if (!run(zlib, data, length) || !run(zlib, "\x00\x00\xff\xff", 4))
        return NULL;
    *inflated = out.length;
    return out.data;
}

void inflation_free(struct client *client)
{
    if (client->inflater)
        inflateEnd(client->inflater);
    free(client->inflater);
    client->inflater = NULL;
}

#else

bool inflation_possible(void)
{
    return false;
}

const char *inflate_message(struct client *client, const char *data, size_t length,
                            size_t *inflated)
{
    (void)client, (void)data, (void)length, (void)inflated;
    return NULL;
}

void inflation_free(struct client *client)
{
    (void)client;
}

#endif
