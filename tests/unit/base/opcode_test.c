/* SPDX-License-Identifier: MIT */
/*
 * opcode_test.c - names of operations stand at their numbers.
 */
#include "base/kernel_abi.h"
#include "base/opcode.h"
#include "harness/harness.h"

TEST(names_stand_at_the_numbers_of_the_kernel)
{
    EXPECT_STR(torc__opcode_name(IORING_OP_NOP), "nop");
    EXPECT_STR(torc__opcode_name(IORING_OP_ACCEPT), "accept");
    EXPECT_STR(torc__opcode_name(IORING_OP_CLOSE), "close");
    EXPECT_STR(torc__opcode_name(IORING_OP_RECV), "recv");
    EXPECT_STR(torc__opcode_name(IORING_OP_LINKAT), "linkat");
    EXPECT_STR(torc__opcode_name(IORING_OP_MSG_RING), "msg_ring");
    EXPECT_STR(torc__opcode_name(IORING_OP_SENDMSG_ZC), "sendmsg_zc");
    EXPECT_STR(torc__opcode_name(KERNEL_OP_WAITID), "waitid");
    EXPECT_STR(torc__opcode_name(KERNEL_OP_FTRUNCATE), "ftruncate");
    EXPECT_STR(torc__opcode_name(KERNEL_OP_LISTEN), "listen");
    EXPECT_STR(torc__opcode_name(KERNEL_OP_PIPE), "pipe");
}

TEST(what_is_not_known_has_a_name_all_the_same)
{
    EXPECT_STR(torc__opcode_name(KERNEL_OP_PIPE + 1), "op");
    EXPECT_STR(torc__opcode_name(255), "op");
}
