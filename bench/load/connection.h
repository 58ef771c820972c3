/*
 * TCP connections without waiting, and the loop that serves them: one thread, one epoll, one large read buffer.
 *
 * Whoever owns a connection embeds `struct connection` as its first member and gets it back in each event.
 */
#ifndef LOAD_CONNECTION_H
#define LOAD_CONNECTION_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "memory.h"
#include "tls.h"

struct connection;

struct connection_events {
    /* The TCP connection is there. */
    void (*opened)(struct connection *connection);
    /*
     * Bytes came; `bytes` begins with what the last call left. Returns how many of them were used up: the rest is
     * kept until more comes.
     */
    size_t (*received)(struct connection *connection, const char *bytes, size_t length);
    /* It ended without us: `why` in words. A connection that we close ourselves has no such event. */
    void (*ended)(struct connection *connection, const char *why);
};

struct connection {
    int fd;
    /* NULL without TLS. */
    struct tls *tls;
    bool open;
    bool connecting;
    bool reads;
    uint32_t interest;
    const struct connection_events *events;
    struct bytes unread;
    struct bytes unsent;
    size_t sent;
};

struct target {
    /* As it was given, for the Host header. */
    const char *text;
    struct sockaddr_storage address;
    socklen_t length;
};

/* When the bytes that are being handled were read. */
extern uint64_t read_at_ns;

/* Resolve HOST:PORT, HOST being a name, an IPv4 address or an IPv6 address in brackets; ends the run if it cannot. */
void target_find(struct target *target, const char *text);

/* Make the loop, for messages of up to `largest_bytes` each. A forked process makes one of its own. */
void loop_begin(size_t largest_bytes);

/* Wait up to `timeout_ns` for something to happen and handle it, for at most about a millisecond's worth. */
void loop_turn(uint64_t timeout_ns);

/* Handle what happens until a time. */
void loop_until(uint64_t end_ns);

/* Have this done about as often, whatever else happens. */
void loop_every(uint64_t interval_ns, void (*what)(void));

/*
 * Begin to connect. `ordinal` counts connections: it spreads them over several source addresses of a loopback target,
 * each of which has some 28,000 ports. A failure, even an immediate one, is told by the event `ended`.
 */
void connection_open(struct connection *connection, const struct target *target, uint32_t ordinal,
                     const struct connection_events *events);

/* Send what waits in `unsent`, now or when the peer takes it. After `received` this happens by itself. */
void connection_flush(struct connection *connection);

/* Take nothing more from the peer and let it feel that soon. */
void connection_stop_reading(struct connection *connection);

/* Say that nothing more comes from us (FIN) and go on reading. */
void connection_finish(struct connection *connection);

void connection_close(struct connection *connection);

#endif
