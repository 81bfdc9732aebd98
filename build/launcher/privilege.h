/* Whether this process may do more than whoever started it. */
#ifndef BATCHCTL_PRIVILEGE_H
#define BATCHCTL_PRIVILEGE_H

#include <stdbool.h>

/* The file is setuid or setgid or has capabilities: the environment, which names the roots, is a stranger's. */
bool privilege_was_raised(void);

#endif
