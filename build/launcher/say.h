/* Words for people: reasons that are kept until they are needed, and messages on standard error. */
#ifndef BATCHCTL_SAY_H
#define BATCHCTL_SAY_H

#include <stdbool.h>

enum { EXIT_NO_ROOT = 69, EXIT_DAMAGED = 70 };

/* Why something did not work, in a few words: "its file system is mounted noexec". */
struct reason {
    bool damaged; /* our own file is at fault: another root would not help */
    char text[400];
};

void because(struct reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `what`, and errno in words. */
void because_errno(struct reason *why, const char *what);

/* As `because`, where our own file is at fault. */
void because_damaged(struct reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Is all of it UTF-8 that Python decodes? */
bool is_utf8(const char *text);

/* `text` with every byte that could steer a terminal written as \xHH, cut (with "...") to what fits into `size` >= 8. */
const char *printable(char *out, unsigned long size, const char *text);

/* Lines on standard error, given as printf would take them. Where nobody reads standard error nothing happens. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
