/* The modes of a run. Each prints its result, or ends the run with a line that says why there is none. */
#ifndef LOAD_MODES_H
#define LOAD_MODES_H

#include "options.h"

/* Publishers send to groups, members receive. */
void run_fanout(struct options *options);

/* Each connection sends to a group of its own and sends the next message when it has received the last. */
void run_echo(struct options *options);

/* Connections that do nothing: what memory they take. */
void run_idle(struct options *options);

/* Connect, upgrade, leave, again. */
void run_churn(struct options *options);

/* Many connect at once: how long that takes, and how long somebody else waits meanwhile. */
void run_connect(struct options *options);

/* Many go at once: what that costs, and how long somebody else waits meanwhile. */
void run_disconnect(struct options *options);

/* HTTP calls, each of which sends a message to all members. */
void run_calls(struct options *options);

/* Publishers each wait for the acknowledgements of what they have sent, and then send more. */
void run_publish(struct options *options);

/* No server: what the kernel takes to send to many sockets, which no server can go below. */
void run_floor(struct options *options);

#endif
