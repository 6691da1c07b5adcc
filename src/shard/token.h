/* SPDX-License-Identifier: MIT */
/*
 * token.h - a handle of a scope for other threads.
 */
#ifndef SHARD_TOKEN_H
#define SHARD_TOKEN_H

struct torc_scope;

/* The scope closes: its token has nothing left to cancel. */
void torc__token_detach(struct torc_scope *scope);

#endif
