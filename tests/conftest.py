"""What all tests share: hypothesis judges results, not the machine's speed."""

from hypothesis import HealthCheck, settings

settings.register_profile("homeroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("homeroom")
