/* lane_table.h: a lane_rig beside an ordered table, for a lane that keeps messages in a store. The table outlives the rig, as a disk would:
 * a test that ends the rig and makes a new one finds its rows.
 */
#ifndef BAILEY_TEST_LANE_TABLE_H
#define BAILEY_TEST_LANE_TABLE_H

#include "fake_table.h"
#include "lane_rig.h"

extern struct fake_table lane_table;

/* Set-up and tear-down of a test: an empty table, and `*state` is the rig. */
int lane_table_new(void **state);
int lane_table_free(void **state);

#endif
