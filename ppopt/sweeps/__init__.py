"""Many pipelines at once: a grid of configurations, run on this machine's cores or on a cluster.

This folder has the grid, the jobs, the storage of results and the engines that run jobs. The jobs call
`ppopt.evaluation` and `ppopt.optimization`; `reports.sweeps.page` draws the results.
"""
