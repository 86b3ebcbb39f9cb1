"""What training minimizes: likelihood, policy gradients, adversaries."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "base": ["Objective"],
        "likelihood.cross_entropy": ["CrossEntropy"],
        "likelihood.scheduled_sampling": ["ScheduledSampling"],
        "likelihood.variational": ["Variational"],
        "likelihood.hard_attention": ["HardAttentionLoss"],
        "policy_gradient.self_critical": ["SelfCritical"],
        "policy_gradient.rewards": ["Reward"],
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
