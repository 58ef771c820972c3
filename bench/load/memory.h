/* Memory that is never short: without it there is no run. */
#ifndef LOAD_MEMORY_H
#define LOAD_MEMORY_H

#include <stddef.h>

/* `count` zeroed items of `size` bytes; ends the run if there is no memory. */
void *allocate(size_t count, size_t size);

/* The same in pages shared with processes forked later. */
void *allocate_shared(size_t size);

/* Bytes that grow at the end. */
struct bytes {
    char *data;
    size_t length;
    size_t capacity;
};

/* Make room for `count` more and tell where they go; `length` is for the caller to raise. */
char *bytes_room(struct bytes *bytes, size_t count);

void bytes_append(struct bytes *bytes, const void *data, size_t count);

/* Drop the first `count`. */
void bytes_drop(struct bytes *bytes, size_t count);

/* Give the memory back. */
void bytes_free(struct bytes *bytes);

#endif
