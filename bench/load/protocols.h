/* The protocols of the servers that are compared: how each greets, joins, publishes, and how a message looks. */
#ifndef LOAD_PROTOCOLS_H
#define LOAD_PROTOCOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

/* What a publication may take besides its payload. */
#define PUBLICATION_BYTES_MORE 512

struct protocol {
    const char *name;
    /* What is asked for in the handshake, and must be accepted; NULL if the protocol has no name there. */
    const char *subprotocol;
    /* What the publishers of this protocol use; NULL if they use it as well. */
    const struct protocol *publishers;
    /* Sent in binary frames. */
    bool binary;
    /* The ends of frames mean nothing: what `receive` leaves is the beginning of what comes next. */
    bool stream;
    /* A join is answered, so that a client knows when it hears its groups. */
    bool confirms_joins;
    /* A publication is answered, which client_acknowledged() tells. */
    bool confirms_publications;
    /* MQTT: its level, 4 or 5, and the quality of service of subscriptions and publications, 0 or 1. */
    uint8_t level, qos;
    /* MQTT 3.1.1: sessions outlive their connections. */
    bool kept;
    /* Begin, right after the upgrade; client_greeted() tells the end. */
    void (*greet)(struct client *client);
    /* Ask for all the groups of the client; client_joined() tells each confirmation. NULL if there are no groups:
       whoever publishes is answered. */
    void (*join)(struct client *client);
    /* Write a message to a group; returns its length. */
    size_t (*publication)(struct client *client, char *to, const char *group, const char *payload, size_t length);
    /* Take bytes: one whole message, or of a stream whatever there is. Returns how many were used up. */
    size_t (*receive)(struct client *client, const char *bytes, size_t length);
    /* Ask whether the server is still there; client_alive() tells the answer. NULL if clients do not ask. */
    void (*ping)(struct client *client);
};

/* Of a client of MQTT, and of a topic. */
#define MQTT_FILTERS 1000
#define MQTT_LEVELS 100

/*
 * For MQTT: members subscribe to all below their groups, with `filters` in all of which the others stand for nothing that
 * is sent, though only their last level tells; 0: to the groups themselves. Topics have so many levels.
 */
void mqtt_shape(uint32_t filters, uint32_t levels);

/* NULL if there is none of that name. */
const struct protocol *protocol_find(const char *name);

/* The names of all, in one line. */
const char *protocol_names(void);

#endif
