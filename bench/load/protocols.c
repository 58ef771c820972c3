#define _GNU_SOURCE
#include "protocols.h"

#include <stdio.h>
#include <string.h>

#include "protocol_presets.h"

static const struct protocol *const presets[] = {
    &protocol_azure,        &protocol_azure_reliable, &protocol_azure_events,
    &protocol_protobuf,     &protocol_protobuf_reliable, &protocol_plain,
    &protocol_nats,         &protocol_centrifugo,     &protocol_centrifugo_rpc,
    &protocol_socketio,     &protocol_mqtt,           &protocol_mqtt_qos1,
    &protocol_mqtt5,        &protocol_mqtt5_qos1,     &protocol_mqtt_kept,
};

#define PRESETS (sizeof presets / sizeof presets[0])

const struct protocol *protocol_find(const char *name)
{
    for (size_t i = 0; i < PRESETS; i++)
        if (!strcmp(presets[i]->name, name))
            return presets[i];
    return NULL;
}

const char *protocol_names(void)
{
    static char names[256];

    names[0] = '\0';
    for (size_t i = 0; i < PRESETS; i++) {
        size_t length = strlen(names);

        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", presets[i]->name);
    }
    return names;
}
