"""A PPO trainer that is one program: a config file in, a trained and scored policy out."""
