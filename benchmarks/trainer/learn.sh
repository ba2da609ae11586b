#!/bin/sh
# The learning curves in docs/trainer.md: Pong to 21 and the cognitive suite, three seeds each.
#   sh benchmarks/trainer/learn.sh FOLDER
set -eu
export OMP_NUM_THREADS=1
for seed in 1 2 3; do
    PROTEIN_RUN_DIR="$1/pong-$seed" python -m trainer env.name=pong env.num_envs=128 \
        trainer.batch_size=8192 trainer.minibatch_size=512 trainer.learning_rate=3e-3 \
        trainer.gamma=0.98 trainer.total_timesteps=2000000 "seed=$seed"
    PROTEIN_RUN_DIR="$1/cogeval-$seed" python -m trainer env.name=cogeval model.recurrence=gru \
        trainer.batch_size=8192 trainer.learning_rate=5e-3 trainer.gamma=0.9 \
        trainer.entropy_coeff=0.01 trainer.total_timesteps=500000 env.difficulty=0.3 \
        evaluation.num_episodes=500 "seed=$seed"
done
