from odevae.estimator.estimator import ODEVAE as ODEVAE
