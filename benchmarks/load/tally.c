/* Who has had which event: completeness, order, and when. */

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally tally;

struct event {
    uint32_t count;
    double published, first, last;
};

static struct event *events;
static uint32_t *audiences; /* by room */
static size_t audience_of_clients;
static uint64_t audience_rooms;

static void count_audiences(void)
{
    if (audiences && audience_of_clients == crowd.count && audience_rooms == setup.rooms)
        return;
    free(audiences);
    audiences = must(calloc(setup.rooms, sizeof *audiences));
    for (uint64_t c = 0; c < crowd.count; c++)
        for (uint64_t j = 0; j < setup.each; j++)
            audiences[(c * setup.each + j) % setup.rooms]++;
    audience_of_clients = crowd.count;
    audience_rooms = setup.rooms;
}

uint64_t tally_next_of(const struct client *client, uint64_t from)
{
    /* A client's rooms follow one another, so whether n is for it is one subtraction. */
    uint64_t start = client->index * setup.each % setup.rooms;
    uint64_t distance = (from % setup.rooms + setup.rooms - start) % setup.rooms;
    return distance < setup.each ? from : from + setup.rooms - distance;
}

static void advance(void)
{
    while (tally.completed < tally.published) {
        uint64_t number = tally.completed;
        if (events[number - tally.first].count < audiences[number % setup.rooms])
            return;
        tally.completed++;
    }
}

bool tally_begin(uint64_t count)
{
    if (tally.deliveries != tally.due || tally.completed != tally.published)
        return false;
    count_audiences();
    free(events);
    events = must(calloc(count ? count : 1, sizeof *events));
    tally.first = tally.published;
    tally.until = tally.published + count;
    tally.deliveries = tally.due = tally.gaps = tally.repeats = tally.strays = 0;
    for (uint64_t n = tally.first; n < tally.until; n++)
        tally.due += audiences[n % setup.rooms];
    crowd.bytes = crowd.chunks = 0;
    tally.begun = tally.ended = tally.progress = now();
    return true;
}

void tally_published(uint64_t number)
{
    events[number - tally.first].published = now();
    tally.published = number + 1;
    if (audiences[number % setup.rooms] == 0)
        advance();
}

void tally_delivery(struct client *client, uint64_t number)
{
    if (number >= tally.published) {
        tally.strays++;
        trouble("client %u got event %llu, which was not published yet", client->index,
                (unsigned long long)number);
        return;
    }
    if (number < client->next || number < tally.first) {
        tally.repeats++;
        trouble("client %u got event %llu when %llu was next", client->index,
                (unsigned long long)number, (unsigned long long)client->next);
        return;
    }
    if (number != client->next) {
        tally.gaps++;
        trouble("client %u got event %llu when %llu was next", client->index,
                (unsigned long long)number, (unsigned long long)client->next);
    }
    client->next = tally_next_of(client, number + 1);
    struct event *event = &events[number - tally.first];
    if (event->count++ == 0)
        event->first = now();
    tally.deliveries++;
    if (event->count == audiences[number % setup.rooms]) {
        event->last = tally.progress = tally.ended = now();
        advance();
    }
}

static int ascending(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void percentiles(const char *name, double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    printf(",\"%s\":{\"p50\":%.1f,\"p99\":%.1f}", name, count ? values[count / 2] * 1e6 : 0,
           count ? values[count * 99 / 100] * 1e6 : 0);
}

void tally_report(void)
{
    size_t count = tally.published - tally.first, heard = 0;
    double *first = must(calloc(count ? count : 1, sizeof *first));
    double *last = must(calloc(count ? count : 1, sizeof *last));
    for (size_t i = 0; i < count; i++)
        if (events[i].last > 0) {
            first[heard] = events[i].first - events[i].published;
            last[heard++] = events[i].last - events[i].published;
        }
    printf("{\"events\":%zu,\"deliveries\":%llu,\"due\":%llu,\"gaps\":%llu,\"repeats\":%llu,"
           "\"strays\":%llu,\"seconds\":%.6f,\"bytes\":%llu,\"chunks\":%llu",
           count, (unsigned long long)tally.deliveries, (unsigned long long)tally.due,
           (unsigned long long)tally.gaps, (unsigned long long)tally.repeats,
           (unsigned long long)tally.strays, tally.ended - tally.begun,
           (unsigned long long)crowd.bytes, (unsigned long long)crowd.chunks);
    percentiles("first_us", first, heard);
    percentiles("last_us", last, heard);
    free(first);
    free(last);
}
