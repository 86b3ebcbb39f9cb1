"""What training minimizes: likelihood, policy gradients, adversaries."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.objectives.adversarial.build import build_gan as build_gan
    from captionlab.objectives.adversarial.discriminators import (
        CNNDiscriminator as CNNDiscriminator,
    )
    from captionlab.objectives.adversarial.discriminators import Discriminator as Discriminator
    from captionlab.objectives.adversarial.discriminators import (
        DiscriminatorOutput as DiscriminatorOutput,
    )
    from captionlab.objectives.adversarial.discriminators import (
        MatchingDiscriminator as MatchingDiscriminator,
    )
    from captionlab.objectives.adversarial.discriminators import (
        SetDiscriminator as SetDiscriminator,
    )
    from captionlab.objectives.adversarial.gumbel_gan import GumbelGAN as GumbelGAN
    from captionlab.objectives.adversarial.policy_gan import PolicyGAN as PolicyGAN
    from captionlab.objectives.base import Batch as Batch
    from captionlab.objectives.base import Objective as Objective
    from captionlab.objectives.base import teacher_forced as teacher_forced
    from captionlab.objectives.distillation.objective import Distillation as Distillation
    from captionlab.objectives.likelihood.cross_entropy import CrossEntropy as CrossEntropy
    from captionlab.objectives.likelihood.hard_attention import (
        HardAttentionLoss as HardAttentionLoss,
    )
    from captionlab.objectives.likelihood.scheduled_sampling import (
        ScheduledSampling as ScheduledSampling,
    )
    from captionlab.objectives.likelihood.variational import Variational as Variational
    from captionlab.objectives.policy_gradient.rewards import Reward as Reward
    from captionlab.objectives.policy_gradient.self_critical import SelfCritical as SelfCritical
    from captionlab.objectives.preference.objective import Preference as Preference
    from captionlab.objectives.staged import Staged as Staged
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "base": ["Batch", "Objective", "teacher_forced"],
            "likelihood.cross_entropy": ["CrossEntropy"],
            "likelihood.scheduled_sampling": ["ScheduledSampling"],
            "likelihood.variational": ["Variational"],
            "likelihood.hard_attention": ["HardAttentionLoss"],
            "policy_gradient.self_critical": ["SelfCritical"],
            "policy_gradient.rewards": ["Reward"],
            "preference.objective": ["Preference"],
            "distillation.objective": ["Distillation"],
            "adversarial.build": ["build_gan"],
            "adversarial.policy_gan": ["PolicyGAN"],
            "adversarial.gumbel_gan": ["GumbelGAN"],
            "adversarial.discriminators": [
                "Discriminator",
                "DiscriminatorOutput",
                "MatchingDiscriminator",
                "CNNDiscriminator",
                "SetDiscriminator",
            ],
            "staged": ["Staged"],
        },
    )
