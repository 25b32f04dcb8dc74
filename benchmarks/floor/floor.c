/*
 * The floor: what a delivery costs when a program does nothing but what the kernel asks of
 * it. It accepts WebSocket clients, reads events from a control connection, a line each, makes
 * one frame of each and calls send(2) with it for every client, in a loop.
 *
 *   floor WEBSOCKET_PORT CONTROL_PORT
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct connection {
    int fd;
    enum { CLIENTS, CONTROLS, CLIENT, CONTROL } kind;
    bool upgraded;
    size_t place; /* among the clients */
    char *pending;
    size_t pending_length, pending_room;
};

static int epoll;
static struct connection **clients;
static size_t client_count, client_room;
static char *lines;
static size_t lines_length, lines_room;

static void add(char **data, size_t *length, size_t *room, const void *more, size_t count)
{
    if (*length + count > *room) {
        *room = (*length + count) * 2;
        if ((*data = realloc(*data, *room)) == NULL)
            abort();
    }
    memcpy(*data + *length, more, count);
    *length += count;
}

static void watch(struct connection *connection, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(epoll, operation, connection->fd, &event);
}

static void drop(struct connection *connection)
{
    if (connection->upgraded) {
        clients[connection->place] = clients[--client_count];
        clients[connection->place]->place = connection->place;
    }
    close(connection->fd);
    free(connection->pending);
    free(connection);
}

/* SHA-1 of at most 119 bytes (RFC 3174); the handshake needs no more. */
static void sha1(const char *text, size_t length, unsigned char digest[20])
{
    unsigned char block[128] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t blocks = length < 56 ? 1 : 2;
    memcpy(block, text, length);
    block[length] = 0x80;
    block[blocks * 64 - 2] = (unsigned char)(length * 8 >> 8);
    block[blocks * 64 - 1] = (unsigned char)(length * 8);
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], v[5];
        for (int i = 0; i < 80; i++) {
            const unsigned char *p = block + b * 64 + i * 4;
            uint32_t x = i < 16 ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | p[2] << 8 | p[3]
                                : w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
            w[i] = i < 16 ? x : (x << 1 | x >> 31);
        }
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 80; i++) {
            static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
            uint32_t f = i < 20   ? (v[1] & v[2]) | (~v[1] & v[3])
                         : i < 40 ? v[1] ^ v[2] ^ v[3]
                         : i < 60 ? (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])
                                  : v[1] ^ v[2] ^ v[3];
            uint32_t t = (v[0] << 5 | v[0] >> 27) + f + v[4] + k[i / 20] + w[i];
            v[4] = v[3], v[3] = v[2], v[2] = v[1] << 30 | v[1] >> 2, v[1] = v[0], v[0] = t;
        }
        for (int i = 0; i < 5; i++)
            h[i] += v[i];
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
}

static void base64(const unsigned char digest[20], char text[29])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        unsigned char *p = padded + i * 3;
        uint32_t x = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        for (int j = 0; j < 4; j++)
            text[i * 4 + j] = letters[x >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static bool upgrade(struct connection *client, const char *request, size_t length)
{
    static const char header[] = "Sec-WebSocket-Key: ";
    const char *key = memmem(request, length, header, sizeof header - 1);
    if (key == NULL || (size_t)(request + length - key) < sizeof header - 1 + 24)
        return false;
    char text[60], accept[29], response[200];
    unsigned char digest[20];
    memcpy(text, key + sizeof header - 1, 24);
    memcpy(text + 24, GUID, 36);
    sha1(text, 60, digest);
    base64(digest, accept);
    int size = snprintf(response, sizeof response,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    if (send(client->fd, response, (size_t)size, MSG_NOSIGNAL) != size)
        return false;
    if (client_count == client_room) {
        client_room = client_room ? client_room * 2 : 1024;
        if ((clients = realloc(clients, client_room * sizeof *clients)) == NULL)
            abort();
    }
    client->upgraded = true;
    client->place = client_count;
    clients[client_count++] = client;
    return true;
}

static void push(struct connection *client, const char *data, size_t length)
{
    ssize_t sent = 0;
    if (client->pending_length == 0) {
        sent = send(client->fd, data, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length)
            return;
        if (sent < 0) {
            if (errno != EAGAIN)
                return; /* epoll will tell that it is gone */
            sent = 0;
        }
        watch(client, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    add(&client->pending, &client->pending_length, &client->pending_room, data + sent,
        length - (size_t)sent);
}

static void drain(struct connection *client)
{
    ssize_t sent = send(client->fd, client->pending, client->pending_length, MSG_NOSIGNAL);
    if (sent <= 0)
        return;
    client->pending_length -= (size_t)sent;
    memmove(client->pending, client->pending + sent, client->pending_length);
    if (client->pending_length == 0)
        watch(client, EPOLLIN, EPOLL_CTL_MOD);
}

static void broadcast(const char *payload, size_t length)
{
    static char *frame;
    static size_t room;
    unsigned char head[10] = {0x81};
    size_t size = 2, frame_length = 0;
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
    add(&frame, &frame_length, &room, head, size);
    add(&frame, &frame_length, &room, payload, length);
    for (size_t i = 0; i < client_count; i++)
        push(clients[i], frame, frame_length);
}

static void readable(struct connection *connection)
{
    static char chunk[65536];
    ssize_t n = recv(connection->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(connection);
        return;
    }
    if (connection->kind == CLIENT) {
        /* Clients say nothing after the handshake, which comes in one piece on loopback. */
        if (!connection->upgraded && !upgrade(connection, chunk, (size_t)n))
            drop(connection);
        return;
    }
    add(&lines, &lines_length, &lines_room, chunk, (size_t)n);
    size_t at = 0;
    char *end;
    while ((end = memchr(lines + at, '\n', lines_length - at)) != NULL) {
        broadcast(lines + at, (size_t)(end - lines) - at);
        at = (size_t)(end - lines) + 1;
    }
    lines_length -= at;
    memmove(lines, lines + at, lines_length);
}

static struct connection *opened(int fd, int kind)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        abort();
    connection->fd = fd;
    connection->kind = kind;
    watch(connection, EPOLLIN, EPOLL_CTL_ADD);
    return connection;
}

static void open_port(const char *port, int kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("floor");
        exit(1);
    }
    opened(fd, kind);
}

static void take(struct connection *listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        opened(fd, listener->kind == CLIENTS ? CLIENT : CONTROL);
    }
}

int main(int count, char *arguments[])
{
    struct epoll_event events[1024];
    if (count != 3) {
        fputs("usage: floor WEBSOCKET_PORT CONTROL_PORT\n", stderr);
        return 2;
    }
    epoll = epoll_create1(0);
    open_port(arguments[1], CLIENTS);
    open_port(arguments[2], CONTROLS);
    for (;;) {
        int ready = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->kind == CLIENTS || connection->kind == CONTROLS) {
                take(connection);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                drain(connection);
            if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                readable(connection);
        }
    }
}
