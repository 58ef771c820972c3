/*
 * A client of a messaging server: a WebSocket that has asked for an upgrade, greeted the server in its protocol, and
 * joined groups. Which client it is to a mode (a member, a publisher) the mode says by its events.
 */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "memory.h"
#include "protocols.h"

#define GROUP_NAME_BYTES 16

/* Handshakes in flight at once, where a mode has no other wish: more would measure the backlog of the listener. */
#define HANDSHAKES_AT_ONCE 256

enum client_phase {
    CLIENT_NEW,
    CLIENT_CONNECTING,
    CLIENT_UPGRADING,
    CLIENT_GREETING,
    CLIENT_JOINING,
    CLIENT_READY,
    CLIENT_CLOSED,
};

struct client;

struct client_events {
    /* The upgrade was answered; may be NULL. */
    void (*upgraded)(struct client *client);
    /* All joins are confirmed, if the protocol confirms them; may be NULL. */
    void (*ready)(struct client *client);
    /* A message came; `marker` is the text of its marker. */
    void (*delivered)(struct client *client, const char *marker);
    /* The oldest of its publications that were not acknowledged was; may be NULL. */
    void (*acknowledged)(struct client *client);
    /* The connection was lost or refused; `client->phase` is still the one in which that happened. */
    void (*closed)(struct client *client, const char *why);
};

struct client {
    /* First, so that a pointer to the one is a pointer to the other. */
    struct connection connection;
    const struct client_events *events;
    const struct protocol *protocol;
    const struct target *target;
    const char *path;
    /* In the order in which clients are opened. */
    struct client *next;
    uint32_t index;
    enum client_phase phase;
    /* It was not closed by a word of the server: the connection itself failed. */
    bool cut;
    /* It joins the groups first_group, first_group + 1, ... modulo groups. */
    uint32_t first_group;
    uint32_t groups;
    uint32_t joins;
    uint32_t joins_confirmed;
    /* Where the marker stood in the last message. */
    uint32_t marker_at;
    /* Acknowledge each so many messages, in a protocol that has such. */
    uint32_t ack_every;
    uint32_t unacknowledged;
    /* Its publications: numbers of the last one and of the last that was acknowledged; those between are under way. */
    uint16_t published_id, acknowledged_id;
    uint32_t under_way;
    /* The server takes no more than this under way; 0: whatever there is. */
    uint32_t under_way_limit;
    /* Seconds within which it is to say something; 0: it may be silent. */
    uint32_t keep_alive_s;
    /* When it asks whether the server is still there; it waits for that in a queue, and then for the answer. */
    uint64_t ping_ns;
    struct client *next_to_ping;
    bool in_ping_queue, pinging;
    /* What came of a message whose rest is in frames to come. */
    struct bytes carried;
};

/* The name of a group, the same in all protocols: g0, g1, ... */
void group_name(char name[GROUP_NAME_BYTES], uint32_t group);

/* Begin to connect. What happens then is told by events. */
void client_open(struct client *client);

/* Open all clients of a list, up to `at_once` at a time, and wait until they are ready; ends the run if one stalls. */
void clients_open(struct client *list, uint32_t at_once);

/* Clients of this process that are on their way to ready. */
uint32_t clients_opening(void);

/* Let clients that are opened from now on say something at least each so many seconds; 0: they need not. */
void clients_keep_alive(uint32_t keep_alive_s);

/* The event `delivered` of whoever does not care. */
void client_ignore(struct client *client, const char *marker);

/* The event `closed` of whoever cannot do without the client: it ends the run. */
void client_lost(struct client *client, const char *why);

/* Append a message to a group, to be sent by connection_flush(). */
void client_publish(struct client *client, uint32_t group, const char *payload, size_t length);

/* For protocols: append a frame of theirs. */
void client_send(struct client *client, const char *text, size_t length);
void client_send_text(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For protocols: the greeting was answered; so many joins were confirmed; the server refused something. */
void client_greeted(struct client *client);
void client_joined(struct client *client, uint32_t count);
void client_refused(struct client *client, const char *text, size_t length);

/* For protocols: the number of the next publication, 1 to 65535; it was acknowledged; the server has answered a ping. */
uint16_t client_next_publication(struct client *client);
void client_acknowledged(struct client *client, uint16_t id);
void client_alive(struct client *client);

#endif
