/* WebSocket clients (RFC 6455): connecting, the handshake, frames. */

#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_OF_ONE_ADDRESS 25000

/* The example of RFC 6455, section 1.3, so that the answer is known too. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct crowd crowd;

void trouble(const char *format, ...)
{
    if (crowd.trouble[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(crowd.trouble, sizeof crowd.trouble, format, arguments);
    va_end(arguments);
}

static void gone(struct client *client, const char *why)
{
    if (client->stage == GONE)
        return;
    trouble("client %u: %s", client->index, why);
    if (client->stage == LIVE)
        crowd.live--;
    client->stage = GONE;
    crowd.gone++;
    close(client->source.fd);
    buffer_free(&client->rest);
    inflation_free(client);
}

static void transmit(struct client *client, const void *data, size_t length)
{
    ssize_t n = send(client->source.fd, data, length, MSG_NOSIGNAL);
    /* What clients say is little; if it does not fit, the server has stopped reading. */
    if (n != (ssize_t)length)
        gone(client, n < 0 ? strerror(errno) : "the server does not read");
}

static void say(struct client *client, int opcode, const char *payload, size_t length)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static struct buffer frame;
    unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
    size_t size = 2;
    if (length < 126) {
        head[1] = (unsigned char)length;
    } else if (length < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(length >> 8);
        head[3] = (unsigned char)length;
        size = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)(length >> (8 * (7 - i)));
        size = 10;
    }
    head[1] |= 0x80;
    memcpy(head + size, mask, 4);
    frame.length = 0;
    buffer_add(&frame, head, size + 4);
    buffer_add(&frame, payload, length);
    for (size_t i = 0; i < length; i++)
        frame.data[size + 4 + i] ^= (char)mask[i & 3];
    transmit(client, frame.data, frame.length);
}

static void say_of_rule(struct client *client, const struct rule *rule)
{
    const char *data = rule->send.data;
    size_t length = rule->send.length;
    if (rule->line) {
        if (client->index >= setup.line_count) {
            gone(client, "there is no line for it");
            return;
        }
        size_t start = setup.line_starts[client->index];
        data = setup.lines.data + start;
        length = setup.line_starts[client->index + 1] - 1 - start;
    }
    if (length)
        say(client, setup.binary ? BINARY : TEXT, data, length);
}

static bool holds(const char *data, size_t length, const struct buffer *wanted)
{
    return memmem(data, length, wanted->data, wanted->length) != NULL;
}

static void enter(struct client *client)
{
    client->stage = LIVE;
    client->next = tally_next_of(client, tally.published);
    crowd.live++;
    tally.progress = now();
}

/* A step without anything to expect is taken at once. Tells whether one was taken. */
static bool greet(struct client *client, const char *data, size_t length)
{
    bool taken = false;
    while (client->stage == GREETING && client->step < setup.step_count) {
        const struct rule *step = &setup.steps[client->step];
        if (step->expect.length) {
            if (data == NULL || !holds(data, length, &step->expect))
                return taken;
            data = NULL;
        }
        taken = true;
        client->step++;
        say_of_rule(client, step);
    }
    if (client->stage == GREETING)
        enter(client);
    return taken;
}

static size_t numbers(struct client *client, const char *data, size_t length)
{
    size_t found = 0;
    const char *end = data + length, *at = data;
    while ((at = memchr(at, MARK, (size_t)(end - at))) != NULL && end - at >= DIGITS + 2) {
        uint64_t number = 0;
        int i = 1;
        for (; i <= DIGITS && at[i] >= '0' && at[i] <= '9'; i++)
            number = number * 10 + (uint64_t)(at[i] - '0');
        if (i == DIGITS + 1 && at[i] == MARK) {
            tally_delivery(client, number);
            found++;
            at += DIGITS + 2;
        } else {
            at++;
        }
    }
    return found;
}

static void message(struct client *client, const char *data, size_t length)
{
    if (numbers(client, data, length))
        return;
    if (client->stage == GREETING && greet(client, data, length))
        return;
    for (size_t i = 0; i < setup.reply_count; i++)
        if (holds(data, length, &setup.replies[i].expect)) {
            say_of_rule(client, &setup.replies[i]);
            return;
        }
    if (memmem(data, length, "\"error\"", 7))
        trouble("client %u was told: %.*s", client->index, length < 300 ? (int)length : 300, data);
}

static void frame(struct client *client, int first, const char *data, size_t length)
{
    int opcode = first & 15;
    if (opcode == CLOSE) {
        char why[160];
        int code = length >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 1005;
        int rest = length > 2 ? (int)length - 2 : 0;
        snprintf(why, sizeof why, "closed with %d %.*s", code, rest, data + 2);
        gone(client, why);
    } else if (opcode == PING) {
        say(client, PONG, data, length);
    } else if (opcode <= BINARY) {
        if (first & 0x40) {
            size_t inflated = 0;
            data = client->compression == PLAIN || !(first & 0x80)
                       ? NULL
                       : inflate_message(client, data, length, &inflated);
            length = inflated;
            if (data == NULL) {
                gone(client, "got a compressed frame that it cannot read");
                return;
            }
        }
        message(client, data, length);
    }
}

static size_t frames(struct client *client, const char *data, size_t length)
{
    size_t at = 0;
    while (length - at >= 2 && client->stage != GONE) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t size = 2, payload = head[1] & 127;
        if (payload >= 126) {
            int bytes = payload == 126 ? 2 : 8;
            size += (size_t)bytes;
            if (length - at < size)
                break;
            payload = 0;
            for (int i = 0; i < bytes; i++)
                payload = payload << 8 | head[2 + i];
        }
        if (length - at - size < payload)
            break;
        frame(client, head[0], data + at + size, payload);
        at += size + payload;
    }
    return at;
}

static size_t upgrade(struct client *client, const char *data, size_t length)
{
    char *end = memmem(data, length, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (length < 12 || memcmp(data + 8, " 101", 4) != 0 ||
        memmem(data, head, ACCEPT, sizeof ACCEPT - 1) == NULL) {
        char why[200];
        snprintf(why, sizeof why, "the handshake was answered %.*s", head < 120 ? (int)head : 120,
                 data);
        gone(client, why);
        return length;
    }
    if (memmem(data, head, "permessage-deflate", 18)) {
        client->compression = memmem(data, head, "server_no_context_takeover", 26)
                                  ? WITHOUT_CONTEXT
                                  : WITH_CONTEXT;
        crowd.compressing++;
    }
    client->stage = GREETING;
    greet(client, NULL, 0);
    return head;
}

static size_t consume(struct client *client, const char *data, size_t length)
{
    size_t used = 0;
    if (client->stage == UPGRADING)
        used = upgrade(client, data, length);
    if (client->stage == GREETING || client->stage == LIVE)
        used += frames(client, data + used, length - used);
    return used;
}

static void readable(struct client *client)
{
    static char chunk[1 << 18];
    ssize_t n = recv(client->source.fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        gone(client, n < 0 ? strerror(errno) : "the server closed its connection");
        return;
    }
    crowd.bytes += (uint64_t)n;
    crowd.chunks++;
    if (client->rest.length) {
        buffer_add(&client->rest, chunk, (size_t)n);
        size_t used = consume(client, client->rest.data, client->rest.length);
        if (client->stage != GONE)
            buffer_cut(&client->rest, used);
        return;
    }
    size_t used = consume(client, chunk, (size_t)n);
    if (client->stage != GONE && used < (size_t)n)
        buffer_add(&client->rest, chunk + used, (size_t)n - used);
}

static void connected(struct client *client)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->source.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        gone(client, strerror(error));
        return;
    }
    char request[8192];
    int length = snprintf(
        request, sizeof request,
        "GET %.*s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%.*s\r\n",
        (int)setup.path.length, setup.path.data, inet_ntoa(setup.server.sin_addr),
        ntohs(setup.server.sin_port),
        setup.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                      : "",
        (int)setup.headers.length, setup.headers.data ? setup.headers.data : "");
    client->stage = UPGRADING;
    watch(&client->source, EPOLLIN, false);
    transmit(client, request, (size_t)length);
}

static void begin(struct client *client)
{
    int one = 1;
    client->source.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->source.fd < 0) {
        gone(client, strerror(errno));
        return;
    }
    setsockopt(client->source.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (crowd.target > PORTS_OF_ONE_ADDRESS) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + client->index / PORTS_OF_ONE_ADDRESS);
        setsockopt(client->source.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        bind(client->source.fd, (struct sockaddr *)&from, sizeof from);
    }
    if (connect(client->source.fd, (struct sockaddr *)&setup.server, sizeof setup.server) != 0 &&
        errno != EINPROGRESS) {
        gone(client, strerror(errno));
        return;
    }
    watch(&client->source, EPOLLOUT, true);
}

void crowd_grow(size_t more, size_t parallel)
{
    crowd.target = crowd.count + more;
    crowd.parallel = parallel;
    crowd.clients = must(realloc(crowd.clients, (crowd.target + 1) * sizeof *crowd.clients));
    crowd_pump();
}

void crowd_pump(void)
{
    while (crowd.count < crowd.target && crowd.count - crowd.live - crowd.gone < crowd.parallel) {
        struct client *client = must(calloc(1, sizeof *client));
        client->source = (struct source){CLIENT, -1};
        client->index = (uint32_t)crowd.count;
        crowd.clients[crowd.count++] = client;
        begin(client);
    }
}

void crowd_close(void)
{
    for (size_t i = 0; i < crowd.count; i++) {
        gone(crowd.clients[i], "");
        free(crowd.clients[i]);
    }
    crowd = (struct crowd){.clients = crowd.clients};
    tally = (struct tally){0};
}

void client_event(struct client *client, uint32_t events)
{
    if (client->stage == GONE)
        return;
    if (client->stage == CONNECTING)
        connected(client);
    else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        readable(client);
}
