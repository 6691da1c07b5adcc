/* SPDX-License-Identifier: MIT */
/*
 * token.c - a handle of a scope for other threads.
 *
 * The token is counted; one of its references is the scope's, one is that of the message while it
 * is under way. Only the shard looks at `scope`, so closing needs no lock.
 */
#include "shard/token.h"
#include "shard/shard.h"
#include <errno.h>
#include <stdlib.h>

struct torc_token {
    struct torc_message message;
    struct torc__mailbox *mailbox;
    struct torc_scope *scope; /* NULL once it is closed; the shard's thread only */
    atomic_uint references;
    atomic_bool sent; /* The message is under way, or was: once is enough. */
};

static void arrived(struct torc_message *message)
{
    struct torc_token *token = container_of(message, struct torc_token, message);

    if (token->scope != NULL)
        torc_scope_cancel(token->scope);
    torc_token_release(token);
}

int torc_scope_token(struct torc_scope *scope, struct torc_token **ret_token)
{
    struct torc_token *token = scope->_token;

    if (token == NULL) {
        token = calloc(1, sizeof(*token));
        if (token == NULL)
            return -ENOMEM;
        token->message.run = arrived;
        token->mailbox = torc__mailbox_acquire(torc__shard_of_fiber()->mailbox);
        token->scope = scope;
        atomic_init(&token->references, 1);
        atomic_init(&token->sent, false);
        scope->_token = token;
    }
    *ret_token = torc_token_acquire(token);
    return 0;
}

struct torc_token *torc_token_acquire(struct torc_token *token)
{
    atomic_fetch_add_explicit(&token->references, 1, memory_order_relaxed);
    return token;
}

void torc_token_release(struct torc_token *token)
{
    if (token == NULL)
        return;
    if (atomic_fetch_sub_explicit(&token->references, 1, memory_order_acq_rel) != 1)
        return;
    torc__mailbox_release(token->mailbox);
    free(token);
}

void torc_token_cancel(struct torc_token *token)
{
    if (atomic_exchange(&token->sent, true))
        return;
    (void)torc_token_acquire(token);
    if (torc__mailbox_push(token->mailbox, &token->message) < 0)
        torc_token_release(token);
}

void torc__token_detach(struct torc_scope *scope)
{
    scope->_token->scope = NULL;
    torc_token_release(scope->_token);
    scope->_token = NULL;
}
