"""Moving over from Argo Rollouts and Flagger.

Here belong manifests as people write them, and what an import makes of each. Odd inputs do not
(`tests/fuzz`).
"""
