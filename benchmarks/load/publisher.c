/*
 * The one connection on which events are published.
 *
 * What is written to publish is made of templates, taken in turn. Each holds one event or
 * more: the byte 1 stands for the number of the next one, the byte 2 for its room, both of a
 * fixed width, so that a request's length is known when its template is made.
 */

#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATUS "HTTP/1.1 "

static struct source source = {PUBLISHER, -1};
static struct buffer *templates, out, in, expect, answer;
static size_t template_count, turn;
static unsigned items = 1;
static bool http, waiting_to_write;
static uint64_t requests, responses;

static void flush(void)
{
    size_t sent = 0;
    while (sent < out.length) {
        ssize_t n = send(source.fd, out.data + sent, out.length - sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EAGAIN)
                break;
            trouble("publisher: %s", strerror(errno));
            out.length = sent;
            break;
        }
        sent += (size_t)n;
    }
    buffer_cut(&out, sent);
    if (waiting_to_write != (out.length > 0)) {
        waiting_to_write = out.length > 0;
        watch(&source, EPOLLIN | (waiting_to_write ? EPOLLOUT : 0), false);
    }
}

bool publisher_open(const char *host, int port, const char *greeting, bool is_http)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (source.fd >= 0)
        close(source.fd);
    out.length = in.length = expect.length = 0;
    requests = responses = 0;
    waiting_to_write = false;
    http = is_http;
    source.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        connect(source.fd, (struct sockaddr *)&address, sizeof address) != 0) {
        trouble("publisher: %s:%d: %s", host, port, strerror(errno));
        return false;
    }
    int one = 1;
    setsockopt(source.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(&source, EPOLLIN, true);
    if (!buffer_from_hex(&out, greeting))
        return false;
    flush();
    return true;
}

bool publisher_template(unsigned many, const char *hex)
{
    if (many == 0) {
        template_count = turn = 0;
        return true;
    }
    items = many;
    templates = must(realloc(templates, (template_count + 1) * sizeof *templates));
    templates[template_count] = (struct buffer){0};
    return buffer_from_hex(&templates[template_count++], hex);
}

bool publisher_fits(uint64_t events)
{
    return source.fd >= 0 && template_count > 0 && events % items == 0;
}

bool publisher_answer(const char *a, const char *b)
{
    return buffer_from_hex(&expect, a) && buffer_from_hex(&answer, b);
}

static void fill(const struct buffer *template)
{
    size_t from = 0;
    for (size_t at = 0; at < template->length; at++) {
        char digits[32];
        uint64_t number = tally.published;
        if (template->data[at] == 1) {
            snprintf(digits, sizeof digits, "%0*llu", DIGITS, (unsigned long long)number);
            tally_published(number);
        } else if (template->data[at] == 2) {
            snprintf(digits, sizeof digits, "%0*llu", ROOM_DIGITS,
                     (unsigned long long)(number % setup.rooms));
        } else {
            continue;
        }
        buffer_add(&out, template->data + from, at - from);
        buffer_add(&out, digits, strlen(digits));
        from = at + 1;
    }
    buffer_add(&out, template->data + from, template->length - from);
}

void publisher_pump(uint64_t window)
{
    bool any = false;
    while (tally.published + items <= tally.until &&
           tally.published + items <= tally.completed + window) {
        fill(&templates[turn++ % template_count]);
        requests++;
        any = true;
    }
    if (any)
        flush();
}

bool publisher_quiet(void)
{
    return out.length == 0 && (!http || responses == requests);
}

static void read_responses(void)
{
    const size_t whole = sizeof STATUS - 1 + 3;
    size_t at = 0;
    for (;;) {
        char *found = memmem(in.data + at, in.length - at, STATUS, sizeof STATUS - 1);
        if (found == NULL || (size_t)(in.data + in.length - found) < whole)
            break;
        responses++;
        tally.progress = tally.ended = now();
        if (found[sizeof STATUS - 1] != '2')
            trouble("publisher: answered %.*s", (int)(in.data + in.length - found) < 300
                                                     ? (int)(in.data + in.length - found)
                                                     : 300, found);
        at = (size_t)(found - in.data) + whole;
    }
    /* What is left may be the beginning of a status line, and is no more than that. */
    size_t left = in.length - at;
    buffer_cut(&in, at + (left >= whole ? left - whole + 1 : 0));
}

void publisher_event(uint32_t events)
{
    char chunk[65536];
    if (events & EPOLLOUT)
        flush();
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    ssize_t n = recv(source.fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        trouble("publisher: the server closed its connection");
        close(source.fd);
        source.fd = -1;
        return;
    }
    if (http) {
        buffer_add(&in, chunk, (size_t)n);
        read_responses();
    } else if (expect.length && memmem(chunk, (size_t)n, expect.data, expect.length)) {
        buffer_add(&out, answer.data, answer.length);
        flush();
    }
}
