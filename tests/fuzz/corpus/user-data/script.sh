#!/bin/sh
# --- spotblock node settings: begin ---
# {"version": 1, "block": "sb-1f2c3d4e", "environment": "spot-block-test", "region": "us-east-1", "cluster": "spot-block-test_Batch_0b7c2a7e-6d0e-3a0c-8b1f-5d1c6f1f9a10", "source": "capacity-block", "end": {"at": "2026-11-25T11:30:00Z"}, "early_reclaim_secs": 1800, "drain_lead_secs": 2700, "stop_lead_secs": 300, "stop_reason": "Host EC2 (instance) leaves", "options": {"longest_timeout_secs": 2400, "release_when_idle_secs": 600, "on_rebalance": "drain"}}
# --- spotblock node settings: end ---
echo started
