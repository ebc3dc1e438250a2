#!/bin/sh
# status.sh ID: what became of a job of SLURM, in the words of Snakemake's generic executor.
# scontrol knows a job for MinJobAge after its end; what it has forgotten, accounting may know.
state=$(scontrol show job "$1" 2>/dev/null | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
[ -n "$state" ] || state=$(sacct -X -n -P -j "$1" -o State 2>/dev/null | head -n 1 | cut -d ' ' -f 1)
case $state in
  COMPLETED) echo success ;;
  PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED | REQUEUE_HOLD | RESIZING | SIGNALING | STAGE_OUT | PREEMPTED) echo running ;;
  # The controller may be starting anew: a job is not lost because nobody answers.
  "") if scontrol ping 2>/dev/null | grep -q 'is UP'; then echo failed; else echo running; fi ;;
  *) echo failed ;;
esac
