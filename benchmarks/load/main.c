/*
 * What the load client is told to do, a command a line on standard input, and what it
 * answers: a JSON object a line for those that take time, nothing for the others. Bytes are
 * written in hex, "-" for none.
 *
 *   server HOST PORT PATH HEADERS   where the clients connect; HEADERS are whole lines
 *   deflate 0|1                     whether they offer permessage-deflate
 *   binary 0|1                      whether what they say goes in binary frames
 *   step EXPECT SEND                after the handshake: wait for EXPECT, send SEND ("line":
 *                                   the client's own line); the last step makes it live
 *   reply EXPECT SEND               at any time after
 *   forget                          steps and replies
 *   lines FILE
 *   rooms COUNT EACH
 *   connect COUNT PARALLEL PATIENCE                         -> JSON
 *   publisher HOST PORT GREETING http|plain
 *   answer EXPECT SEND              what the publisher answers to
 *   template ITEMS REQUEST          one more way to publish ITEMS events; 0 forgets all
 *   publish EVENTS WINDOW PATIENCE                          -> JSON
 *   state                                                   -> JSON
 *   close                           every client            -> JSON
 *
 * PATIENCE is how many seconds may go by without any progress.
 */

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

struct setup setup = {.rooms = 1, .each = 1};

static int epoll;
static struct source commands = {COMMANDS, STDIN_FILENO};
static struct buffer input;
static enum { IDLE, CONNECT, PUBLISH } work;
static double patience, work_began;
static uint64_t window;
static struct rusage usage_began;

bool watch(struct source *source, uint32_t events, bool first)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(epoll, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, source->fd, &event) == 0;
}

static double cpu(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static void print_trouble(void)
{
    printf(",\"live\":%zu,\"gone\":%zu,\"trouble\":\"", crowd.live, crowd.gone);
    for (const char *at = crowd.trouble; *at; at++) {
        if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if ((unsigned char)*at < 32)
            putchar(' ');
        else
            putchar((unsigned char)*at < 127 ? *at : '?');
    }
    printf("\"}\n");
    fflush(stdout);
    crowd.trouble[0] = 0;
}

static void start(int what, double may_wait)
{
    work = what;
    patience = may_wait;
    work_began = tally.progress = now();
    getrusage(RUSAGE_SELF, &usage_began);
}

static void finish(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (work == CONNECT)
        printf("{\"seconds\":%.6f,\"compressing\":%zu", now() - work_began, crowd.compressing);
    else
        tally_report();
    printf(",\"load_cpu\":%.6f", cpu(&usage) - cpu(&usage_began));
    print_trouble();
    work = IDLE;
}

/* Whether what is under way is over, one way or the other. */
static void look(void)
{
    if (work == CONNECT) {
        crowd_pump();
        if (crowd.live + crowd.gone == crowd.target) {
            finish();
            return;
        }
    } else if (work == PUBLISH) {
        publisher_pump(window);
        if (tally.completed == tally.until && publisher_quiet()) {
            finish();
            return;
        }
        if (crowd.gone) {
            /* Its share never comes. */
            finish();
            return;
        }
    }
    if (work != IDLE && now() - tally.progress > patience) {
        trouble("nothing more came for %g seconds", patience);
        finish();
    }
}

static bool read_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    char chunk[65536];
    size_t n;
    setup.lines.length = 0;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buffer_add(&setup.lines, chunk, n);
    fclose(file);
    setup.line_count = 0;
    for (size_t i = 0; i < setup.lines.length; i++)
        setup.line_count += setup.lines.data[i] == '\n';
    setup.line_starts = must(realloc(setup.line_starts, (setup.line_count + 1) * sizeof(size_t)));
    size_t line = 0;
    setup.line_starts[0] = 0;
    for (size_t i = 0; i < setup.lines.length; i++)
        if (setup.lines.data[i] == '\n')
            setup.line_starts[++line] = i + 1;
    return true;
}

static bool add_rule(struct rule *rules, size_t *count, const char *expect, const char *send)
{
    if (*count == MOST_RULES)
        return false;
    struct rule *rule = &rules[(*count)++];
    rule->line = strcmp(send, "line") == 0;
    return buffer_from_hex(&rule->expect, expect) &&
           (rule->line || buffer_from_hex(&rule->send, send));
}

static bool obey(char *words[], int count)
{
    const char *name = words[0];
#define COMMAND(text, arguments) (strcmp(name, text) == 0 && count == (arguments) + 1)
    if (COMMAND("server", 4)) {
        setup.server = (struct sockaddr_in){.sin_family = AF_INET,
                                            .sin_port = htons((uint16_t)atoi(words[2]))};
        return inet_pton(AF_INET, words[1], &setup.server.sin_addr) == 1 &&
               buffer_from_hex(&setup.path, words[3]) && buffer_from_hex(&setup.headers, words[4]);
    }
    if (COMMAND("deflate", 1)) {
        setup.deflate = atoi(words[1]);
        return !setup.deflate || inflation_possible();
    }
    if (COMMAND("binary", 1)) {
        setup.binary = atoi(words[1]);
        return true;
    }
    if (COMMAND("step", 2))
        return add_rule(setup.steps, &setup.step_count, words[1], words[2]);
    if (COMMAND("reply", 2))
        return add_rule(setup.replies, &setup.reply_count, words[1], words[2]);
    if (COMMAND("forget", 0)) {
        setup.step_count = setup.reply_count = 0;
        return true;
    }
    if (COMMAND("lines", 1))
        return read_lines(words[1]);
    if (COMMAND("rooms", 2)) {
        setup.rooms = strtoull(words[1], NULL, 10);
        setup.each = strtoull(words[2], NULL, 10);
        return setup.each > 0 && setup.each <= setup.rooms;
    }
    if (COMMAND("publisher", 4))
        return publisher_open(words[1], atoi(words[2]), words[3], strcmp(words[4], "http") == 0);
    if (COMMAND("answer", 2))
        return publisher_answer(words[1], words[2]);
    if (COMMAND("template", 2))
        return publisher_template((unsigned)atoi(words[1]), words[2]);
    if (COMMAND("connect", 3)) {
        start(CONNECT, atof(words[3]));
        crowd_grow(strtoull(words[1], NULL, 10), strtoull(words[2], NULL, 10));
        return true;
    }
    if (COMMAND("publish", 3)) {
        window = strtoull(words[2], NULL, 10);
        start(PUBLISH, atof(words[3]));
        uint64_t events = strtoull(words[1], NULL, 10);
        if (publisher_fits(events) && tally_begin(events))
            return true;
        work = IDLE;
        return false;
    }
    if (COMMAND("state", 0)) {
        tally_report();
        print_trouble();
        return true;
    }
    if (COMMAND("close", 0)) {
        crowd_close();
        printf("{\"closed\":true");
        print_trouble();
        return true;
    }
    return false;
#undef COMMAND
}

static void obey_line(char *line)
{
    char *words[8], *rest = NULL;
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && count < 8;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count && !obey(words, count)) {
        trouble("cannot do %s", words[0]);
        printf("{\"failed\":\"%s\"", words[0]);
        print_trouble();
    }
}

static void obey_lines(void)
{
    char *end;
    while (work == IDLE && input.length &&
           (end = memchr(input.data, '\n', input.length)) != NULL) {
        *end = 0;
        size_t length = (size_t)(end - input.data) + 1;
        char *line = must(strdup(input.data));
        buffer_cut(&input, length);
        obey_line(line);
        free(line);
    }
}

int main(void)
{
    struct epoll_event events[1024];
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(&commands, EPOLLIN, true);
    for (;;) {
        int count = epoll_wait(epoll, events, 1024, work == IDLE ? -1 : 100);
        if (count < 0 && errno != EINTR) {
            perror("load: epoll_wait");
            return 1;
        }
        for (int i = 0; i < count; i++) {
            struct source *source = events[i].data.ptr;
            if (source->kind == CLIENT) {
                client_event((struct client *)source, events[i].events);
            } else if (source->kind == PUBLISHER) {
                publisher_event(events[i].events);
            } else {
                char chunk[65536];
                ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
                if (n <= 0)
                    return 0;
                buffer_add(&input, chunk, (size_t)n);
            }
        }
        obey_lines();
        if (work != IDLE) {
            look();
            obey_lines();
        }
    }
}
