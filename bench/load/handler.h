/*
 * An application's own server, as small as one can be: it answers an event with its text, and a call of Centrifugo's
 * RPC proxy with its data. So what is measured beside it is whoever asks it.
 */
#ifndef LOAD_HANDLER_H
#define LOAD_HANDLER_H

#include <stdint.h>

/* Answer requests at a port of the loopback address, in a child of this process. Returns it once it can be reached. */
int handler_start(uint32_t port);

#endif
