/*
 * The load client: thousands of WebSocket clients and one publisher in one process, which
 * counts every delivery and checks its order.
 *
 * Published events carry their number between two marks, as in @000000000042@, wherever
 * in a message that may be. No other message may hold the mark.
 */

#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARK '@'
#define DIGITS 12
#define ROOM_DIGITS 6
#define MOST_RULES 8

/* Bytes that grow. */
struct buffer {
    char *data;
    size_t length, room;
};

void buffer_add(struct buffer *buffer, const void *data, size_t length);
void buffer_cut(struct buffer *buffer, size_t from_the_start);
void buffer_free(struct buffer *buffer);

/* Fills `buffer` with what `hex` spells; "-" spells nothing. */
bool buffer_from_hex(struct buffer *buffer, const char *hex);

double now(void);
void *must(void *allocated);

/* What epoll hands back points to one of these: each is the first member of its kind. */
enum kind { COMMANDS, CLIENT, PUBLISHER };
struct source {
    enum kind kind;
    int fd;
};
bool watch(struct source *source, uint32_t events, bool first);

/* When `expect` is found in a message, `send` is the answer. */
struct rule {
    struct buffer expect, send;
    bool line; /* the client's own line of the file instead */
};

/* What all clients have in common. */
struct setup {
    struct sockaddr_in server;
    struct buffer path, headers;
    bool binary, deflate;
    struct rule steps[MOST_RULES], replies[MOST_RULES];
    size_t step_count, reply_count;
    /* Event n goes to room n % rooms; client c is in the rooms c * each + 0 ... each - 1. */
    uint64_t rooms, each;
    struct buffer lines;
    size_t *line_starts, line_count;
};
extern struct setup setup;

/* clients.c */

enum stage { CONNECTING, UPGRADING, GREETING, LIVE, GONE };
enum compression { PLAIN, WITHOUT_CONTEXT, WITH_CONTEXT };

struct client {
    struct source source;
    uint32_t index;
    enum stage stage;
    enum compression compression;
    size_t step;
    struct buffer rest; /* a frame of which some is still to come */
    uint64_t next;      /* the number of the event that has to come next */
    void *inflater;
};

struct crowd {
    struct client **clients;
    size_t count, live, gone, compressing;
    size_t target, parallel;
    uint64_t bytes; /* received since the handshakes */
    uint64_t chunks;
    char trouble[400]; /* the first thing that went wrong */
};
extern struct crowd crowd;

void crowd_grow(size_t more, size_t parallel);
void crowd_pump(void);
void crowd_close(void);
void client_event(struct client *client, uint32_t events);
void trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* tally.c */

struct tally {
    uint64_t published, completed, until; /* numbers of events */
    uint64_t first;                       /* of this command */
    uint64_t deliveries, due;
    uint64_t gaps, repeats, strays;
    double begun, ended, progress;
};
extern struct tally tally;

bool tally_begin(uint64_t events);
void tally_published(uint64_t number);
void tally_delivery(struct client *client, uint64_t number);
uint64_t tally_next_of(const struct client *client, uint64_t from);
void tally_report(void);

/* publisher.c */

bool publisher_open(const char *host, int port, const char *greeting, bool http);
bool publisher_template(unsigned items, const char *hex);
bool publisher_fits(uint64_t events);
bool publisher_answer(const char *expect, const char *send);
void publisher_pump(uint64_t window);
bool publisher_quiet(void);
void publisher_event(uint32_t events);

/* inflation.c */

bool inflation_possible(void);
/* Inflates one message; the answer holds until the next call. NULL: it is not deflated data. */
const char *inflate_message(struct client *client, const char *data, size_t length,
                            size_t *inflated);
void inflation_free(struct client *client);

#endif
