"""Many pipelines at once: a grid of configurations, run on this machine's cores or on a cluster.

What a grid says, what a job is, where results are kept and which engine runs them belong here; what is run is
`ppopt.evaluation`'s and `ppopt.optimization`'s, and what is drawn `reports.sweeps.page`'.
"""
