/* SPDX-License-Identifier: MIT */
/*
 * commands.h - the commands of torc. Each gets its own argv, and returns the exit status.
 */
#ifndef TORC_TOOL_COMMANDS_H
#define TORC_TOOL_COMMANDS_H

int command_echo(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_top(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_demo(int argc, char **argv);

#endif
