"""Networks of the audition tasks: separators, the Q-network on their cues, and the agent of both."""
