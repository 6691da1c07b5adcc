/* SPDX-License-Identifier: MIT */
/*
 * command.c - the table of commands, and what is wrong with those that are not in it.
 */
#include "kv.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEYS(step_)     .place = BY_EACH_KEY, .step = (step_)
#define SLOTS           256u /* of the index: four times as many as commands */
#define NAME_MAX_LENGTH 32u
#define ERROR_ARGUMENTS 128
#define ON_KEY(name_, arity_, run_, flags_)                                                   \
    {                                                                                         \
        .name = (name_), .arity = (arity_), .place = BY_KEY, .run = (run_), .flags = (flags_) \
    }
#define CONTROL(name_, arity_, control_, flags_)                                     \
    {                                                                                \
        .name = (name_), .arity = (arity_), .control = (control_), .flags = (flags_) \
    }

static const struct command commands[] = {
    ON_KEY("get", 2, run_get, "readonly fast"),
    ON_KEY("set", -3, run_set, "write denyoom"),
    ON_KEY("append", 3, run_append, "write denyoom fast"),
    ON_KEY("strlen", 2, run_length, "readonly fast"),
    ON_KEY("incr", 2, run_increment, "write denyoom fast"),
    ON_KEY("decr", 2, run_decrement, "write denyoom fast"),
    ON_KEY("incrby", 3, run_increment_by, "write denyoom fast"),
    ON_KEY("decrby", 3, run_decrement_by, "write denyoom fast"),
    ON_KEY("expire", -3, run_expire, "write fast"),
    ON_KEY("pexpire", -3, run_expire_ms, "write fast"),
    ON_KEY("ttl", 2, run_ttl, "readonly fast"),
    ON_KEY("pttl", 2, run_ttl_ms, "readonly fast"),
    ON_KEY("persist", 2, run_persist, "write fast"),
    {"mget", -2, KEYS(1), .answer = ANSWER_LIST, .run = run_get, .flags = "readonly fast"},
    {"mset", -3, KEYS(2), .answer = ANSWER_OK, .run = run_set_one, .flags = "write denyoom"},
    {"del", -2, KEYS(1), .answer = ANSWER_SUM, .run = run_delete, .flags = "write"},
    {"unlink", -2, KEYS(1), .answer = ANSWER_SUM, .run = run_delete, .flags = "write fast"},
    {"exists", -2, KEYS(1), .answer = ANSWER_SUM, .run = run_exists, .flags = "readonly fast"},
    {"dbsize", 1, BY_ALL, .answer = ANSWER_SUM, .run = run_count, .flags = "readonly fast"},
    {"publish", 3, BY_ALL, .answer = ANSWER_SUM, .run = run_publish, .flags = "pubsub fast"},
    CONTROL("flushall", -1, control_flush, "write"),
    CONTROL("flushdb", -1, control_flush, "write"),
    CONTROL("subscribe", -2, control_subscribe, "pubsub noscript"),
    CONTROL("unsubscribe", -1, control_unsubscribe, "pubsub noscript"),
    CONTROL("ping", -1, control_ping, "fast"),
    CONTROL("echo", 2, control_echo, "fast"),
    CONTROL("select", 2, control_select, "fast"),
    CONTROL("quit", -1, control_quit, "fast noscript"),
    CONTROL("hello", -1, control_hello, "fast noscript"),
    CONTROL("info", -1, control_info, "stale"),
    CONTROL("command", -1, control_command, "stale"),
    CONTROL("command|count", 2, control_command_count, "stale"),
    CONTROL("command|docs", -2, control_command_docs, "stale"),
    CONTROL("config", -2, NULL, ""),
    CONTROL("config|get", -3, control_config_get, "admin"),
    CONTROL("client", -2, NULL, ""),
    CONTROL("client|id", 2, control_client_id, "noscript"),
    CONTROL("client|list", -2, control_client_list, "admin"),
    CONTROL("client|getname", 2, control_client_name, "noscript"),
    CONTROL("client|setname", 3, control_client_set_name, "noscript"),
    CONTROL("client|setinfo", 4, control_client_info, "noscript"),
};

static const struct command *index_of_names[SLOTS];

/* Of a name in any case. */
static unsigned slot_of(const char *name, size_t length)
{
    uint32_t hash = (uint32_t)length;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ ((unsigned char)name[i] | 0x20u)) * UINT32_C(0x01000193);
    return (hash ^ hash >> 15) % SLOTS;
}

const struct command *command_at(unsigned index)
{
    return index < sizeof(commands) / sizeof(commands[0]) ? &commands[index] : NULL;
}

void commands_init(void)
{
    const struct command *command;

    for (unsigned i = 0; (command = command_at(i)) != NULL; i++) {
        unsigned slot = slot_of(command->name, strlen(command->name));

        while (index_of_names[slot] != NULL)
            slot = (slot + 1) % SLOTS;
        index_of_names[slot] = command;
    }
}

static const struct command *find_name(const char *name, size_t length)
{
    const struct command *command;

    if (length >= NAME_MAX_LENGTH)
        return NULL;
    for (unsigned slot = slot_of(name, length); (command = index_of_names[slot]) != NULL;
         slot = (slot + 1) % SLOTS) {
        if (strncasecmp(command->name, name, length) == 0 && command->name[length] == '\0')
            return command;
    }
    return NULL;
}

/* The command with the name that a request begins with; of a subcommand that is not the name. */
static const struct command *find_first(const struct args *args)
{
    const struct slice name = arg(args, 0);
    const struct command *command = find_name(name.at, name.length);

    if (command != NULL && command->control != NULL && memchr(name.at, '|', name.length) != NULL)
        return NULL;
    return command;
}

/* A command with subcommands, of which only COMMAND means something without one. */
static bool is_container(const struct command *command)
{
    return command->control == NULL ? command->run == NULL : command->control == control_command;
}

/* The command with this name, or subcommand with these two, whatever else is there. */
static const struct command *find(const struct args *args)
{
    const struct slice first = arg(args, 0);
    const struct command *command = find_first(args);
    char name[NAME_MAX_LENGTH];
    struct slice second;

    if (command == NULL || args->count < 2 || !is_container(command))
        return command;
    second = arg(args, 1);
    if (first.length + 1 + second.length > sizeof(name))
        return NULL;
    memcpy(name, first.at, first.length);
    name[first.length] = '|';
    memcpy(name + first.length + 1, second.at, second.length);
    return find_name(name, first.length + 1 + second.length);
}

static bool fits(const struct command *command, unsigned count)
{
    if (command->arity < 0)
        return count >= (unsigned)-command->arity &&
               (command->step == 0 || (count - 1) % command->step == 0);
    return count == (unsigned)command->arity;
}

const struct command *command_find(const struct args *args)
{
    const struct command *command = find(args);

    return command != NULL && fits(command, args->count) ? command : NULL;
}

/* What of a slice a C string of at most `most` characters can hold. */
static int printable(struct slice slice, int most)
{
    return (int)strnlen(slice.at, slice.length < (size_t)most ? slice.length : (size_t)most);
}

void refuse_arity(struct reply *reply, const char *name)
{
    reply_error(reply, "wrong number of arguments for '%s' command", name);
}

void command_refuse(const struct args *args, struct reply *reply)
{
    const struct command *command = find(args);
    const struct slice first = arg(args, 0);
    char words[2 * ERROR_ARGUMENTS + 8];
    int used = 0;

    if (command != NULL) {
        refuse_arity(reply, command->name);
        return;
    }
    if (find_first(args) != NULL) {
        const struct slice second = arg(args, 1);
        char name[NAME_MAX_LENGTH] = "";

        for (size_t i = 0; i < first.length; i++)
            name[i] = (char)toupper((unsigned char)first.at[i]);
        reply_error(reply, "unknown subcommand '%.*s'. Try %s HELP.", printable(second, 128),
                    second.at, name);
        return;
    }
    words[0] = '\0';
    for (unsigned i = 1; i < args->count && used < ERROR_ARGUMENTS; i++) {
        const struct slice word = arg(args, i);

        used += snprintf(words + used, sizeof(words) - (size_t)used, "'%.*s' ",
                         printable(word, ERROR_ARGUMENTS - used), word.at);
    }
    reply_error(reply, "unknown command '%.*s', with args beginning with: %s",
                printable(first, 128), first.at, words);
}

bool argument_is(const struct args *args, unsigned index, const char *word)
{
    const struct slice argument = arg(args, index);

    return strncasecmp(argument.at, word, argument.length) == 0 && word[argument.length] == '\0';
}

bool argument_integer(const struct args *args, unsigned index, struct reply *reply,
                      int64_t *ret_number)
{
    if (parse_integer(arg(args, index), ret_number))
        return true;
    reply_error(reply, "value is not an integer or out of range");
    return false;
}
