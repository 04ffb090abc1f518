/* The version of the program. */
#ifndef BAILEY_VERSION_H
#define BAILEY_VERSION_H
#define BAILEY_VERSION "0.1.0"
#endif
