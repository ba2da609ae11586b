"""What tests on real infrastructure share: they run only where they are asked for.

Each module says `pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]`.
"""
